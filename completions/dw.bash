# Completion of dw for bash. Made by scripts/gen_docs.

_dw_about() {
  case "$1" in
    '') commands='search metadata retrieve store render check copy delete doctor request serve profile share folder order orthanc' options='--version -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'search') commands='' options='--include --columns --sort --all --count --patient --patient-id --modality --date --time --accession --description --birth-date --study --series --fuzzy --limit --offset -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--include --columns --sort --patient --patient-id --modality --date --time --accession --description --birth-date --study --series --limit --offset -p --profile --url -f --format -H --header --timeout' ;;
    'metadata') commands='' options='--tag --bulkdata -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--tag --bulkdata -p --profile --url -f --format -H --header --timeout' ;;
    'retrieve') commands='' options='-o --output --layout --transfer-syntax -j --jobs --zip --wado-uri --anonymize --overwrite --verify --dry-run --report --max-errors --patient --patient-id --modality --date --time --accession --description --birth-date --study --series --fuzzy --limit --offset -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-o --output --layout --transfer-syntax -j --jobs --zip --report --max-errors --patient --patient-id --modality --date --time --accession --description --birth-date --study --series --limit --offset -p --profile --url -f --format -H --header --timeout' ;;
    'store') commands='' options='--study -j --jobs --batch-size --include --exclude --verify --journal --dry-run --report --max-errors -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--study -j --jobs --batch-size --include --exclude --journal --report --max-errors -p --profile --url -f --format -H --header --timeout' ;;
    'render') commands='' options='-o --output --frame --window --viewport --quality --type --annotation --thumbnail --local -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-o --output --frame --window --viewport --quality --type --annotation -p --profile --url -f --format -H --header --timeout' ;;
    'check') commands='' options='--deep -j --jobs --report -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-j --jobs --report -p --profile --url -f --format -H --header --timeout' ;;
    'copy') commands='' options='--to -j --jobs --verify --dry-run --report --max-errors -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--to -j --jobs --report --max-errors -p --profile --url -f --format -H --header --timeout' ;;
    'delete') commands='' options='--yes --dry-run --reason --report -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--reason --report -p --profile --url -f --format -H --header --timeout' ;;
    'doctor') commands='' options='--save --write --large --all -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'request') commands='' options='--param -d --data -o --output -i --include -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--param -d --data -o --output -p --profile --url -f --format -H --header --timeout' ;;
    'serve') commands='' options='--port --read-only --reindex -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--port -p --profile --url -f --format -H --header --timeout' ;;
    'profile') commands='add edit list show use remove login logout test' options='-h --help' valued='' ;;
    'profile add') commands='' options='--dialect --set --auth --user --password-env --password-command --password-file --password-stdin --token-env --token-command --token-file --token-stdin --netrc --issuer --client-id --client-secret-env --client-secret-command --client-secret-file --client-secret-stdin --scope --grant --redirect --ca --client-cert --client-key --client-key-password-env --client-key-password-command --client-key-password-file --insecure --secure --proxy -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--dialect --set --auth --user --password-env --password-command --password-file --token-env --token-command --token-file --issuer --client-id --client-secret-env --client-secret-command --client-secret-file --scope --grant --redirect --ca --client-cert --client-key --client-key-password-env --client-key-password-command --client-key-password-file --proxy -p --profile --url -f --format -H --header --timeout' ;;
    'profile edit') commands='' options='--dialect --set --auth --user --password-env --password-command --password-file --password-stdin --token-env --token-command --token-file --token-stdin --netrc --issuer --client-id --client-secret-env --client-secret-command --client-secret-file --client-secret-stdin --scope --grant --redirect --ca --client-cert --client-key --client-key-password-env --client-key-password-command --client-key-password-file --insecure --secure --proxy -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--dialect --set --auth --user --password-env --password-command --password-file --token-env --token-command --token-file --issuer --client-id --client-secret-env --client-secret-command --client-secret-file --scope --grant --redirect --ca --client-cert --client-key --client-key-password-env --client-key-password-command --client-key-password-file --proxy -p --profile --url -f --format -H --header --timeout' ;;
    'profile list') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'profile show') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'profile use') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'profile remove') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'profile login') commands='' options='--browser --no-browser -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'profile logout') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'profile test') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'share') commands='link order folder' options='-h --help' valued='' ;;
    'share link') commands='' options='--expires --downloadable --view-only --password-prompt --password-stdin --password-env --password-command -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--expires --password-env --password-command -p --profile --url -f --format -H --header --timeout' ;;
    'share order') commands='' options='--expires --downloadable --view-only --password-prompt --password-stdin --password-env --password-command -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--expires --password-env --password-command -p --profile --url -f --format -H --header --timeout' ;;
    'share folder') commands='' options='--title --description --expires --downloadable --view-only --password-prompt --password-stdin --password-env --password-command -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--title --description --expires --password-env --password-command -p --profile --url -f --format -H --header --timeout' ;;
    'folder') commands='create search list add share' options='-h --help' valued='' ;;
    'folder create') commands='' options='--parent --description -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--parent --description -p --profile --url -f --format -H --header --timeout' ;;
    'folder search') commands='' options='--name --parent --orders --no-orders -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--name --parent -p --profile --url -f --format -H --header --timeout' ;;
    'folder list') commands='' options='--parent --orders --no-orders -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--parent -p --profile --url -f --format -H --header --timeout' ;;
    'folder add') commands='' options='-p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'folder share') commands='' options='--title --description --expires --downloadable --view-only --password-prompt --password-stdin --password-env --password-command -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--title --description --expires --password-env --password-command -p --profile --url -f --format -H --header --timeout' ;;
    'order') commands='create search show tags assign delete' options='-h --help' valued='' ;;
    'order create') commands='' options='--institution --patient-name --patient-id --birth-date --modality --other-patient-id --sex --description --accession --complaints --scheduled --procedure-id --procedure --requesting-physician --referring-physician --equipment -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--institution --patient-name --patient-id --birth-date --modality --other-patient-id --sex --description --accession --complaints --scheduled --procedure-id --procedure --requesting-physician --referring-physician --equipment -p --profile --url -f --format -H --header --timeout' ;;
    'order search') commands='' options='--institution --patient-name --patient-id --other-patient-id --accession --modality --date --birth-date -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--institution --patient-name --patient-id --other-patient-id --accession --modality --date --birth-date -p --profile --url -f --format -H --header --timeout' ;;
    'order show') commands='' options='--institution -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--institution -p --profile --url -f --format -H --header --timeout' ;;
    'order tags') commands='' options='--institution --tag --series -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--institution --tag --series -p --profile --url -f --format -H --header --timeout' ;;
    'order assign') commands='' options='--user --group -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--user --group -p --profile --url -f --format -H --header --timeout' ;;
    'order delete') commands='' options='--institution -y --yes -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--institution -p --profile --url -f --format -H --header --timeout' ;;
    'orthanc') commands='servers get retrieve stow delete job' options='-h --help' valued='' ;;
    'orthanc servers') commands='' options='--user --password-env --password-stdin --remote-header --chunked --no-chunked --can-delete --client-cert --client-key --client-key-password-env --replace --remote-timeout -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--user --password-env --remote-header --client-cert --client-key --client-key-password-env --remote-timeout -p --profile --url -f --format -H --header --timeout' ;;
    'orthanc get') commands='' options='--param --remote-header -o --output -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--param --remote-header -o --output -p --profile --url -f --format -H --header --timeout' ;;
    'orthanc retrieve') commands='' options='--detach --priority --param --remote-header -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--priority --param --remote-header -p --profile --url -f --format -H --header --timeout' ;;
    'orthanc stow') commands='' options='--detach --priority --remote-header -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='--priority --remote-header -p --profile --url -f --format -H --header --timeout' ;;
    'orthanc delete') commands='' options='--yes -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
    'orthanc job') commands='' options='--wait -p --profile --url -f --format -H --header --timeout -v --verbose -q --quiet -h --help' valued='-p --profile --url -f --format -H --header --timeout' ;;
  esac
}

_dw_values() {
  case "$1" in
    ':-p'|':--profile') kind=profile ;;
    ':-f'|':--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'search:-p'|'search:--profile') kind=profile ;;
    'search:-f'|'search:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'search:0') choices='studies series instances' ;;
    'metadata:--bulkdata') kind=directory ;;
    'metadata:-p'|'metadata:--profile') kind=profile ;;
    'metadata:-f'|'metadata:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'metadata:0') choices='study series instance' ;;
    'retrieve:-o'|'retrieve:--output') kind=file ;;
    'retrieve:--transfer-syntax') choices='implicit explicit deflated big-endian jpeg jpeg-extended jpeg-lossless jpeg-ls-lossless jpeg-ls jpeg2000-lossless jpeg2000 htj2k-lossless htj2k-lossless-rpcl htj2k mpeg2 mpeg4 rle' ;;
    'retrieve:--zip') kind=file ;;
    'retrieve:--report') kind=file ;;
    'retrieve:-p'|'retrieve:--profile') kind=profile ;;
    'retrieve:-f'|'retrieve:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'retrieve:0') choices='study series instance frames bulkdata' ;;
    'store:--journal') kind=file ;;
    'store:--report') kind=file ;;
    'store:-p'|'store:--profile') kind=profile ;;
    'store:-f'|'store:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'store:'*[0-9]) kind=file ;;
    'render:-o'|'render:--output') kind=file ;;
    'render:--type') choices='png jpeg' ;;
    'render:-p'|'render:--profile') kind=profile ;;
    'render:-f'|'render:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'render:0') kind=file choices='study series instance' ;;
    'check:--report') kind=file ;;
    'check:-p'|'check:--profile') kind=profile ;;
    'check:-f'|'check:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'check:0') choices='study series instance' ;;
    'check:'*[0-9]) kind=directory ;;
    'copy:--to') kind=profile ;;
    'copy:--report') kind=file ;;
    'copy:-p'|'copy:--profile') kind=profile ;;
    'copy:-f'|'copy:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'copy:0') choices='study series instance' ;;
    'delete:--report') kind=file ;;
    'delete:-p'|'delete:--profile') kind=profile ;;
    'delete:-f'|'delete:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'delete:0') choices='study series instance' ;;
    'doctor:-p'|'doctor:--profile') kind=profile ;;
    'doctor:-f'|'doctor:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'doctor:0') kind=profile ;;
    'request:-o'|'request:--output') kind=file ;;
    'request:-p'|'request:--profile') kind=profile ;;
    'request:-f'|'request:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'request:0') choices='GET POST PUT DELETE HEAD OPTIONS' ;;
    'serve:-p'|'serve:--profile') kind=profile ;;
    'serve:-f'|'serve:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'serve:0') kind=directory ;;
    'profile add:--dialect') choices='standard auto archive orthanc orthanc-0.4 dcm4chee shanoir google azure aws xnat kheops tiny-pacs postdicom' ;;
    'profile add:--auth') choices='none basic bearer netrc oidc' ;;
    'profile add:--password-file') kind=file ;;
    'profile add:--token-file') kind=file ;;
    'profile add:--client-secret-file') kind=file ;;
    'profile add:--grant') choices='device code client_credentials password' ;;
    'profile add:--ca') kind=file ;;
    'profile add:--client-cert') kind=file ;;
    'profile add:--client-key') kind=file ;;
    'profile add:--client-key-password-file') kind=file ;;
    'profile add:-p'|'profile add:--profile') kind=profile ;;
    'profile add:-f'|'profile add:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile edit:--dialect') choices='standard auto archive orthanc orthanc-0.4 dcm4chee shanoir google azure aws xnat kheops tiny-pacs postdicom' ;;
    'profile edit:--auth') choices='none basic bearer netrc oidc' ;;
    'profile edit:--password-file') kind=file ;;
    'profile edit:--token-file') kind=file ;;
    'profile edit:--client-secret-file') kind=file ;;
    'profile edit:--grant') choices='device code client_credentials password' ;;
    'profile edit:--ca') kind=file ;;
    'profile edit:--client-cert') kind=file ;;
    'profile edit:--client-key') kind=file ;;
    'profile edit:--client-key-password-file') kind=file ;;
    'profile edit:-p'|'profile edit:--profile') kind=profile ;;
    'profile edit:-f'|'profile edit:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile edit:0') kind=profile ;;
    'profile list:-p'|'profile list:--profile') kind=profile ;;
    'profile list:-f'|'profile list:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile show:-p'|'profile show:--profile') kind=profile ;;
    'profile show:-f'|'profile show:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile show:0') kind=profile ;;
    'profile use:-p'|'profile use:--profile') kind=profile ;;
    'profile use:-f'|'profile use:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile use:0') kind=profile ;;
    'profile remove:-p'|'profile remove:--profile') kind=profile ;;
    'profile remove:-f'|'profile remove:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile remove:0') kind=profile ;;
    'profile login:-p'|'profile login:--profile') kind=profile ;;
    'profile login:-f'|'profile login:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile login:0') kind=profile ;;
    'profile logout:-p'|'profile logout:--profile') kind=profile ;;
    'profile logout:-f'|'profile logout:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile logout:0') kind=profile ;;
    'profile test:-p'|'profile test:--profile') kind=profile ;;
    'profile test:-f'|'profile test:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'profile test:0') kind=profile ;;
    'share link:-p'|'share link:--profile') kind=profile ;;
    'share link:-f'|'share link:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'share order:-p'|'share order:--profile') kind=profile ;;
    'share order:-f'|'share order:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'share folder:-p'|'share folder:--profile') kind=profile ;;
    'share folder:-f'|'share folder:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'folder create:-p'|'folder create:--profile') kind=profile ;;
    'folder create:-f'|'folder create:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'folder search:-p'|'folder search:--profile') kind=profile ;;
    'folder search:-f'|'folder search:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'folder list:-p'|'folder list:--profile') kind=profile ;;
    'folder list:-f'|'folder list:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'folder add:-p'|'folder add:--profile') kind=profile ;;
    'folder add:-f'|'folder add:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'folder share:-p'|'folder share:--profile') kind=profile ;;
    'folder share:-f'|'folder share:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'order create:--sex') choices='M F O' ;;
    'order create:-p'|'order create:--profile') kind=profile ;;
    'order create:-f'|'order create:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'order search:-p'|'order search:--profile') kind=profile ;;
    'order search:-f'|'order search:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'order show:-p'|'order show:--profile') kind=profile ;;
    'order show:-f'|'order show:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'order tags:-p'|'order tags:--profile') kind=profile ;;
    'order tags:-f'|'order tags:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'order assign:-p'|'order assign:--profile') kind=profile ;;
    'order assign:-f'|'order assign:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'order delete:-p'|'order delete:--profile') kind=profile ;;
    'order delete:-f'|'order delete:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'orthanc servers:-p'|'orthanc servers:--profile') kind=profile ;;
    'orthanc servers:-f'|'orthanc servers:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'orthanc servers:0') choices='list show add remove' ;;
    'orthanc get:-o'|'orthanc get:--output') kind=file ;;
    'orthanc get:-p'|'orthanc get:--profile') kind=profile ;;
    'orthanc get:-f'|'orthanc get:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'orthanc retrieve:-p'|'orthanc retrieve:--profile') kind=profile ;;
    'orthanc retrieve:-f'|'orthanc retrieve:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'orthanc retrieve:1') choices='study series instance' ;;
    'orthanc stow:-p'|'orthanc stow:--profile') kind=profile ;;
    'orthanc stow:-f'|'orthanc stow:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'orthanc stow:1') choices='study series instance' ;;
    'orthanc delete:-p'|'orthanc delete:--profile') kind=profile ;;
    'orthanc delete:-f'|'orthanc delete:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
    'orthanc delete:1') choices='study series instance' ;;
    'orthanc job:-p'|'orthanc job:--profile') kind=profile ;;
    'orthanc job:-f'|'orthanc job:--format') choices='table tsv csv json jsonl flat xml uids refs' ;;
  esac
}

_dw() {
  local commands options valued kind choices word path='' place=0 skip='' option='' i
  local cur="${COMP_WORDS[COMP_CWORD]}"
  COMPREPLY=()
  [ "$cur" = "=" ] && cur=""
  _dw_about ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    if [ "$word" = "=" ]; then continue; fi
    if [ -n "$skip" ]; then skip=""; option=""; continue; fi
    case "$word" in
      -?*)
        case " $valued " in *" $word "*) skip=1 option="$word" ;; esac ;;
      *)
        case " $commands " in
          *" $word "*) path="${path:+$path }$word"; _dw_about "$path" ;;
          *) place=$((place + 1)) ;;
        esac ;;
    esac
  done
  kind='' choices=''
  if [ -n "$skip" ]; then
    _dw_values "$path:$option"
  elif [[ "$cur" == -* ]]; then
    choices="$options"
  elif [ -n "$commands" ]; then
    choices="$commands"
  else
    _dw_values "$path:$place"
  fi
  case "$kind" in
    file) compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
    directory) compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    profile) mapfile -t COMPREPLY < <(compgen -W "$(dw profile list --format tsv 2>/dev/null | sed 1d | cut -f1)" -- "$cur") ;;
  esac
  if [ -n "$choices" ]; then
    mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -W "$choices" -- "$cur")
  fi
}

complete -F _dw dw
