# bash completion for latchkey

_latchkey() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local group='' name='' word words='' i
    local -A names=(
        [device]='add list show suspend resume rotate remove restore disconnect status send'
        [client]='add list show suspend resume rotate remove'
        [key]='list rotate'
        [token]='get show verify revoke'
        [acl]='check match covers import'
    )
    local -A options=(
        ['device add']='--id --name --location --tag --secret-out'
        ['device list']='--type --tag --state --q --limit'
        ['device rotate']='--overlap --secret-out'
        ['device remove']='--purge'
        ['client rotate']='--overlap --secret-out'
        ['key rotate']='--compromised'
        ['device send']='--wait --expires'
        ['client add']='--id --scope --lifetime --secret-out'
        ['client list']='--limit'
        ['token get']='--scope --audience --format --lifetime'
        ['token show']='--hex'
        ['token verify']='--jwks --issuer --audience --at --leeway --signature-only --external-aad --own --hex'
        ['acl import']='--output --types'
        [doctor]='--mosquitto-conf --mosquitto --offline'
        [explain]='--token --scopes --client-id --qos --retain --size'
    )

    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        [[ $word == -* ]] && continue
        if [[ -z $group ]]; then
            group=$word
        elif [[ -z $name ]]; then
            name=$word
        fi
    done

    COMPREPLY=()
    case $prev in
    --jwks | --scopes | --secret-out | --output | --types | -o | --mosquitto-conf | --mosquitto | check | import)
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        return
        ;;
    --format)
        words='jwt cwt'
        ;;
    --audience)
        words='mqtt coap latchkey-api'
        ;;
    --state)
        words='active suspended deleted'
        ;;
    --qos)
        words='0 1 2'
        ;;
    --token)
        words='-'
        ;;
    --type)
        words='sensor actuator gateway'
        ;;
    *)
        if [[ -z $group ]]; then
            words='device client key token explain acl doctor watch help --version --help --json'
        elif [[ -n ${names[$group]:-} && -z $name ]]; then
            words="${names[$group]} --help"
        elif [[ $cur == -* ]]; then
            words="${options[$group${names[$group]:+ $name}]:-} --json --help"
        elif [[ $group == explain && -z $name ]]; then
            words='publish subscribe'
        elif [[ "$group $name" == 'device add' ]]; then
            words='sensor actuator gateway'
        elif [[ "$group $name" == 'client add' ]]; then
            words='admin device-manager monitor verifier bridge desk'
        elif [[ $group == token ]]; then
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
            return
        fi
        ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _latchkey latchkey
