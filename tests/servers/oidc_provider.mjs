// An OpenID provider for the tests: node oidc_provider.mjs MODULES PORT LIFE
// MODULES: the folder that holds oidc-provider; LIFE: seconds that an access token lives.
import { pathToFileURL } from 'node:url';

const [modules, port, life] = process.argv.slice(2);
const { default: Provider } = await import(pathToFileURL(`${modules}/oidc-provider/lib/index.js`).href);

const device = 'urn:ietf:params:oauth:grant-type:device_code';
const people = ['authorization_code', 'refresh_token', device];
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [
    {
      client_id: 'dw-public',
      token_endpoint_auth_method: 'none',
      application_type: 'native',
      grant_types: people,
      redirect_uris: ['http://127.0.0.1/'],
    },
    {
      client_id: 'dw-machine',
      client_secret: 'm+chine/secret=%40',
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
    },
  ],
  features: {
    devInteractions: { enabled: true },
    deviceFlow: { enabled: true },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
  },
  ttl: {
    AccessToken: Number(life),
    ClientCredentials: Number(life),
    RefreshToken: 3600,
    DeviceCode: 600,
    AuthorizationCode: 60,
    Grant: 3600,
    Session: 3600,
    Interaction: 600,
    IdToken: 3600,
  },
  rotateRefreshToken: true,
  pkce: { required: () => true },
  findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
});

provider.use(async (ctx, next) => {
  await next();
  // One line a request: the tests count the refreshes.
  const grant = ctx.oidc?.params?.grant_type ?? '';
  if (ctx.path === '/token') console.log(`token ${grant} ${ctx.status}`);
});
provider.listen(Number(port), '127.0.0.1');
