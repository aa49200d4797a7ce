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
        words='broker pub sub bench passwd scram acl store completion help --help --version'
    else
    case $command:$before in
    broker:--host|broker:-H)
        ;;
    broker:--auth-password-file)
        ;;
    broker:--acl-file)
        ;;
    broker:--ban-file)
        ;;
    broker:--workers)
        ;;
    broker:--storage-backend)
        words='file memory'
        ;;
    broker:--storage-dir)
        ;;
    broker:--durability)
        words='strict relaxed memory'
        ;;
    broker:--durability-for)
        ;;
    broker:--storage-damaged)
        words='set_aside refuse'
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
    broker:--store-bytes-max)
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
    pub:--at)
        ;;
    pub:--repeat)
        ;;
    pub:--interval)
        ;;
    pub:--url|pub:-U|pub:-L)
        ;;
    pub:--host|pub:-H)
        ;;
    pub:--port|pub:-p)
        ;;
    pub:--username|pub:-u)
        ;;
    pub:--password|pub:-P)
        ;;
    pub:--protocol-version|pub:-V)
        words='5 5.0 3.1.1 311 4 mqttv5 mqttv311'
        ;;
    pub:--keep-alive|pub:--keepalive|pub:-k)
        ;;
    pub:--connect-timeout)
        ;;
    pub:--options-file)
        compopt -o default
        ;;
    pub:--max-inflight|pub:-M)
        ;;
    pub:--receive-maximum)
        ;;
    pub:--property|pub:-D)
        ;;
    pub:--reconnect-delay)
        ;;
    pub:--reconnect-delay-max)
        ;;
    pub:--reconnect-attempts)
        ;;
    pub:--client-id|pub:--id|pub:-c|pub:-i)
        ;;
    pub:--id-prefix|pub:-I)
        ;;
    pub:--session-expiry|pub:-x)
        ;;
    pub:--will-topic)
        ;;
    pub:--will-message|pub:--will-payload)
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
    sub:--unsubscribe)
        ;;
    sub:--filter-out|sub:-T)
        ;;
    sub:--count|sub:-n|sub:-C)
        ;;
    sub:--timeout|sub:-W)
        ;;
    sub:--format|sub:-F)
        ;;
    sub:--url|sub:-U|sub:-L)
        ;;
    sub:--host|sub:-H)
        ;;
    sub:--port|sub:-p)
        ;;
    sub:--username|sub:-u)
        ;;
    sub:--password|sub:-P)
        ;;
    sub:--protocol-version|sub:-V)
        words='5 5.0 3.1.1 311 4 mqttv5 mqttv311'
        ;;
    sub:--keep-alive|sub:--keepalive|sub:-k)
        ;;
    sub:--connect-timeout)
        ;;
    sub:--options-file)
        compopt -o default
        ;;
    sub:--max-inflight|sub:-M)
        ;;
    sub:--receive-maximum)
        ;;
    sub:--property|sub:-D)
        ;;
    sub:--reconnect-delay)
        ;;
    sub:--reconnect-delay-max)
        ;;
    sub:--reconnect-attempts)
        ;;
    sub:--client-id|sub:--id|sub:-c|sub:-i)
        ;;
    sub:--id-prefix|sub:-I)
        ;;
    sub:--session-expiry|sub:-x)
        ;;
    sub:--will-topic)
        ;;
    sub:--will-message|sub:--will-payload)
        ;;
    sub:--will-qos)
        ;;
    sub:--will-delay)
        ;;
    bench:--mode)
        words='throughput latency connections hol-blocking'
        ;;
    bench:--duration)
        ;;
    bench:--warmup)
        ;;
    bench:--publishers)
        ;;
    bench:--subscribers)
        ;;
    bench:--topics)
        ;;
    bench:--rate)
        ;;
    bench:--inflight)
        ;;
    bench:--concurrency)
        ;;
    bench:--topic|bench:-t)
        ;;
    bench:--filter|bench:-f)
        ;;
    bench:--qos|bench:-q)
        ;;
    bench:--payload-size)
        ;;
    bench:--client-id|bench:-c|bench:-i)
        ;;
    bench:--pub-url)
        ;;
    bench:--plot)
        compopt -o default
        ;;
    bench:--steady-trim)
        ;;
    bench:--url|bench:-U|bench:-L)
        ;;
    bench:--host|bench:-H)
        ;;
    bench:--port|bench:-p)
        ;;
    bench:--username|bench:-u)
        ;;
    bench:--password|bench:-P)
        ;;
    bench:--protocol-version|bench:-V)
        words='5 5.0 3.1.1 311 4 mqttv5 mqttv311'
        ;;
    bench:--keep-alive|bench:--keepalive|bench:-k)
        ;;
    bench:--connect-timeout)
        ;;
    bench:--options-file)
        compopt -o default
        ;;
    passwd:--batch|passwd:-b)
        ;;
    passwd:--memory)
        ;;
    passwd:--passes)
        ;;
    scram:--batch|scram:-b)
        ;;
    scram:--iterations|scram:-i)
        ;;
    scram:--hash)
        words='sha256 sha512'
        ;;
    acl:--file|acl:-f)
        compopt -o default
        ;;
    acl:--client-id)
        ;;
    *)
        case $command in
        help) words='broker pub sub bench passwd scram acl store completion help' ;;
        broker) words='--host --allow-anonymous --auth-password-file --acl-file --ban-file --workers --storage-backend --storage-dir --durability --durability-for --storage-damaged --log-level --log-json --verbose --debug --non-interactive --max-qos --keep-alive --keep-alive-max --session-expiry --topic-alias-maximum --topic-alias-outgoing-max --sys-interval --max-clients --sessions-max --connect-timeout --connect-packet-max --maximum-packet-size --receive-maximum --inflight-max --client-id-size-max --subscriptions-max --subscriptions-per-session-max --topic-levels-max --user-properties-max --queued-messages-max --queued-bytes-max --output-bytes-max --retained-messages-max --retained-bytes-max --retained-message-size-max --store-bytes-max --memory-max --queue-policy --shared-strategy --response-information --no-sys-topics --no-retain --no-wildcards --no-shared --no-subscription-identifiers --help' ;;
        pub) words='--topic --message --file --stdin --stdin-lines --null-message --qos --retain --message-expiry-interval --topic-alias --content-type --user-property --response-topic --correlation-data --wait-response --timeout --response-count --output-format --delay --at --repeat --interval --stats --json --url --host --port --username --password --protocol-version --keep-alive --connect-timeout --options-file --quiet --max-inflight --receive-maximum --property --non-interactive --auto-reconnect --reconnect-delay --reconnect-delay-max --reconnect-attempts --client-id --id-prefix --no-clean-start --session-expiry --will-topic --will-message --will-qos --will-retain --will-delay --help' ;;
        sub) words='--topic --qos --no-local --retain-handling --retain-as-published --subscription-identifier --unsubscribe --filter-out --no-retained --retained-only --remove-retained --count --timeout --exit-after-subscribe --verbose --format --json --hex --base64 --show-properties --no-line-end --url --host --port --username --password --protocol-version --keep-alive --connect-timeout --options-file --quiet --max-inflight --receive-maximum --property --non-interactive --auto-reconnect --reconnect-delay --reconnect-delay-max --reconnect-attempts --client-id --id-prefix --no-clean-start --session-expiry --will-topic --will-message --will-qos --will-retain --will-delay --help' ;;
        bench) words='--mode --duration --warmup --publishers --subscribers --topics --rate --inflight --concurrency --topic --filter --qos --payload-size --client-id --pub-url --json --plot --steady-trim --url --host --port --username --password --protocol-version --keep-alive --connect-timeout --options-file --quiet --help' ;;
        passwd) words='--create --delete --stdout --batch --stdin --json --memory --passes --help' ;;
        scram) words='--create --delete --stdout --batch --stdin --json --iterations --hash --help' ;;
        acl) words='--file --client-id --json --help' ;;
        store) words='--json --help' ;;
        completion) words='--help bash zsh' ;;
        esac
        ;;
    esac
    fi
    [[ -z $words ]] || COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -F _mqttv5 mqttv5
