# Completion of mqttv5 for bash, made by `mqttv5 completion bash`.
_mqttv5()
{
    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    local command=${COMP_WORDS[1]} words=''
    COMPREPLY=()
    # --name=value comes as three words.
    if [[ $word == = ]]; then
        word=''
    elif [[ $before == = ]]; then
        before=${COMP_WORDS[COMP_CWORD-2]}
    fi
    if ((COMP_CWORD == 1)); then
        words='broker pub sub completion help --help --version'
    else
    case $command:$before in
    broker:--host|broker:-H)
        ;;
    broker:--workers)
        ;;
    broker:--storage-backend)
        words='memory file'
        ;;
    broker:--log-level)
        words='error warning info debug'
        ;;
    broker:--max-qos)
        ;;
    broker:--keep-alive)
        ;;
    broker:--keep-alive-max)
        ;;
    broker:--session-expiry)
        ;;
    broker:--topic-alias-maximum)
        ;;
    broker:--topic-alias-outgoing-max)
        ;;
    broker:--sys-interval)
        ;;
    broker:--max-clients)
        ;;
    broker:--sessions-max)
        ;;
    broker:--connect-timeout)
        ;;
    broker:--connect-packet-max)
        ;;
    broker:--maximum-packet-size)
        ;;
    broker:--receive-maximum)
        ;;
    broker:--inflight-max)
        ;;
    broker:--client-id-size-max)
        ;;
    broker:--subscriptions-max)
        ;;
    broker:--subscriptions-per-session-max)
        ;;
    broker:--topic-levels-max)
        ;;
    broker:--user-properties-max)
        ;;
    broker:--queued-messages-max)
        ;;
    broker:--queued-bytes-max)
        ;;
    broker:--output-bytes-max)
        ;;
    broker:--retained-messages-max)
        ;;
    broker:--retained-bytes-max)
        ;;
    broker:--retained-message-size-max)
        ;;
    broker:--memory-max)
        ;;
    broker:--queue-policy)
        words='drop_newest drop_oldest'
        ;;
    broker:--shared-strategy)
        words='round_robin random sticky least_inflight hash_topic hash_clientid'
        ;;
    broker:--response-information)
        ;;
    pub:--topic|pub:-t)
        ;;
    pub:--message|pub:-m)
        ;;
    pub:--file|pub:-f)
        compopt -o default
        ;;
    pub:--qos|pub:-q)
        ;;
    pub:--message-expiry-interval)
        ;;
    pub:--topic-alias)
        ;;
    pub:--content-type)
        ;;
    pub:--user-property)
        ;;
    pub:--response-topic)
        ;;
    pub:--correlation-data)
        ;;
    pub:--timeout)
        ;;
    pub:--response-count)
        ;;
    pub:--output-format)
        words='raw verbose json'
        ;;
    pub:--delay)
        ;;
    pub:--repeat)
        ;;
    pub:--interval)
        ;;
    pub:--url|pub:-U)
        ;;
    pub:--host|pub:-H)
        ;;
    pub:--port|pub:-p)
        ;;
    pub:--username|pub:-u)
        ;;
    pub:--password|pub:-P)
        ;;
    pub:--protocol-version)
        words='5 5.0 3.1.1 311 4'
        ;;
    pub:--keep-alive|pub:-k)
        ;;
    pub:--client-id|pub:-c)
        ;;
    pub:--session-expiry)
        ;;
    pub:--will-topic)
        ;;
    pub:--will-message)
        ;;
    pub:--will-qos)
        ;;
    pub:--will-delay)
        ;;
    sub:--topic|sub:-t)
        ;;
    sub:--qos|sub:-q)
        ;;
    sub:--retain-handling)
        ;;
    sub:--subscription-identifier)
        ;;
    sub:--count|sub:-n)
        ;;
    sub:--url|sub:-U)
        ;;
    sub:--host|sub:-H)
        ;;
    sub:--port|sub:-p)
        ;;
    sub:--username|sub:-u)
        ;;
    sub:--password|sub:-P)
        ;;
    sub:--protocol-version)
        words='5 5.0 3.1.1 311 4'
        ;;
    sub:--keep-alive|sub:-k)
        ;;
    sub:--client-id|sub:-c)
        ;;
    sub:--session-expiry)
        ;;
    sub:--will-topic)
        ;;
    sub:--will-message)
        ;;
    sub:--will-qos)
        ;;
    sub:--will-delay)
        ;;
    *)
        case $command in
        help) words='broker pub sub completion help' ;;
        broker) words='--host --allow-anonymous --workers --storage-backend --log-level --log-json --verbose --debug --non-interactive --max-qos --keep-alive --keep-alive-max --session-expiry --topic-alias-maximum --topic-alias-outgoing-max --sys-interval --max-clients --sessions-max --connect-timeout --connect-packet-max --maximum-packet-size --receive-maximum --inflight-max --client-id-size-max --subscriptions-max --subscriptions-per-session-max --topic-levels-max --user-properties-max --queued-messages-max --queued-bytes-max --output-bytes-max --retained-messages-max --retained-bytes-max --retained-message-size-max --memory-max --queue-policy --shared-strategy --response-information --no-sys-topics --no-retain --no-wildcards --no-shared --no-subscription-identifiers --help' ;;
        pub) words='--topic --message --file --stdin --stdin-lines --qos --retain --message-expiry-interval --topic-alias --content-type --user-property --response-topic --correlation-data --wait-response --timeout --response-count --output-format --delay --repeat --interval --url --host --port --username --password --protocol-version --keep-alive --client-id --no-clean-start --session-expiry --will-topic --will-message --will-qos --will-retain --will-delay --help' ;;
        sub) words='--topic --qos --no-local --retain-handling --retain-as-published --subscription-identifier --count --verbose --show-properties --json --url --host --port --username --password --protocol-version --keep-alive --client-id --no-clean-start --session-expiry --will-topic --will-message --will-qos --will-retain --will-delay --help' ;;
        completion) words='--help bash zsh' ;;
        esac
        ;;
    esac
    fi
    [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _mqttv5 mqttv5
