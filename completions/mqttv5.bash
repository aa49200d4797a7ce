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
    broker:--config|broker:-c)
        ;;
    broker:--mosquitto-conf)
        ;;
    broker:--output|broker:-o)
        ;;
    broker:--format|broker:-f)
        words='yaml json'
        ;;
    broker:--host|broker:-H)
        ;;
    broker:--workers)
        ;;
    broker:--tls-host)
        ;;
    broker:--tls-cert)
        ;;
    broker:--tls-key)
        ;;
    broker:--tls-ca-cert)
        ;;
    broker:--tls-crl)
        ;;
    broker:--tls-identity)
        words='none cn san fingerprint'
        ;;
    broker:--tls-identity-file)
        ;;
    broker:--tls-psk-file)
        ;;
    broker:--tls-version-min)
        words='1.2 1.3'
        ;;
    broker:--tls-priorities)
        ;;
    broker:--ws-host)
        ;;
    broker:--ws-path)
        compopt -o default
        ;;
    broker:--ws-origin)
        ;;
    broker:--ws-forwarder)
        ;;
    broker:--ws-tls-host)
        ;;
    broker:--unix)
        compopt -o default
        ;;
    broker:--proxy-protocol)
        words='off v1 v2 any'
        ;;
    broker:--proxy-trusted)
        ;;
    broker:--ban-file)
        ;;
    broker:--acl-file)
        ;;
    broker:--dynamic-security-file)
        ;;
    broker:--auth-method)
        words='none password scram jwt jwt-federated'
        ;;
    broker:--auth-password-file)
        ;;
    broker:--scram-file)
        ;;
    broker:--jwt-issuer)
        ;;
    broker:--jwt-audience)
        ;;
    broker:--jwt-algorithm)
        words='HS256 RS256 ES256 EdDSA'
        ;;
    broker:--jwt-key-file)
        ;;
    broker:--jwt-fallback-key)
        ;;
    broker:--jwt-jwks-uri)
        ;;
    broker:--jwt-jwks-refresh)
        ;;
    broker:--jwt-clock-skew)
        ;;
    broker:--jwt-issuer-prefix)
        ;;
    broker:--jwt-auth-mode)
        words='none mapped trusted'
        ;;
    broker:--jwt-role-claim)
        ;;
    broker:--jwt-role-map)
        ;;
    broker:--jwt-trusted-role-claim)
        ;;
    broker:--jwt-default-roles)
        ;;
    broker:--auth-http-uri)
        ;;
    broker:--auth-http-ca-cert)
        ;;
    broker:--auth-http-timeout)
        ;;
    broker:--auth-http-cache)
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
    broker:--store-bytes-max)
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
    broker:--response-information)
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
    broker:--connections-per-user-max)
        ;;
    broker:--connections-per-address-max)
        ;;
    broker:--subscriptions-per-user-max)
        ;;
    broker:--client-messages-in)
        ;;
    broker:--client-bytes-in)
        ;;
    broker:--client-messages-out)
        ;;
    broker:--client-bytes-out)
        ;;
    broker:--user-messages-in)
        ;;
    broker:--user-bytes-in)
        ;;
    broker:--user-messages-out)
        ;;
    broker:--user-bytes-out)
        ;;
    broker:--address-messages-in)
        ;;
    broker:--address-bytes-in)
        ;;
    broker:--address-messages-out)
        ;;
    broker:--address-bytes-out)
        ;;
    broker:--rate-burst)
        ;;
    broker:--rate-action)
        words='wait refuse disconnect'
        ;;
    broker:--queue-policy)
        words='drop_newest drop_oldest'
        ;;
    broker:--shared-strategy)
        words='round_robin random sticky least_inflight hash_topic hash_clientid'
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
    pub:--auth-method)
        words='password scram scram-sha-256 plain scram-sha-512 jwt'
        ;;
    pub:--jwt-token)
        ;;
    pub:--ca-cert|pub:--cafile)
        ;;
    pub:--capath)
        ;;
    pub:--cert)
        ;;
    pub:--key)
        ;;
    pub:--key-password)
        ;;
    pub:--tls-version)
        words='1.2 1.3 tlsv1.2 tlsv1.3'
        ;;
    pub:--tls-server-name)
        ;;
    pub:--alpn|pub:--tls-alpn)
        ;;
    pub:--crl)
        ;;
    pub:--psk)
        ;;
    pub:--psk-identity)
        ;;
    pub:--tls-priorities)
        ;;
    pub:--tls-key-log)
        ;;
    pub:--ws-header)
        ;;
    pub:--ws-subprotocol)
        ;;
    pub:--unix)
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
    sub:--auth-method)
        words='password scram scram-sha-256 plain scram-sha-512 jwt'
        ;;
    sub:--jwt-token)
        ;;
    sub:--ca-cert|sub:--cafile)
        ;;
    sub:--capath)
        ;;
    sub:--cert)
        ;;
    sub:--key)
        ;;
    sub:--key-password)
        ;;
    sub:--tls-version)
        words='1.2 1.3 tlsv1.2 tlsv1.3'
        ;;
    sub:--tls-server-name)
        ;;
    sub:--alpn|sub:--tls-alpn)
        ;;
    sub:--crl)
        ;;
    sub:--psk)
        ;;
    sub:--psk-identity)
        ;;
    sub:--tls-priorities)
        ;;
    sub:--tls-key-log)
        ;;
    sub:--ws-header)
        ;;
    sub:--ws-subprotocol)
        ;;
    sub:--unix)
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
    bench:--ca-cert|bench:--cafile)
        ;;
    bench:--capath)
        ;;
    bench:--cert)
        ;;
    bench:--key)
        ;;
    bench:--key-password)
        ;;
    bench:--tls-version)
        words='1.2 1.3 tlsv1.2 tlsv1.3'
        ;;
    bench:--tls-server-name)
        ;;
    bench:--alpn|bench:--tls-alpn)
        ;;
    bench:--crl)
        ;;
    bench:--psk)
        ;;
    bench:--psk-identity)
        ;;
    bench:--tls-priorities)
        ;;
    bench:--tls-key-log)
        ;;
    bench:--ws-header)
        ;;
    bench:--ws-subprotocol)
        ;;
    bench:--unix)
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
        broker) words='--config --mosquitto-conf --check-config --json --output --format --verbose --debug --non-interactive --host --workers --tls-host --tls-cert --tls-key --tls-ca-cert --tls-crl --tls-require-client-cert --tls-identity --tls-identity-file --tls-psk-file --tls-version-min --tls-priorities --no-tls-session-tickets --ws-host --ws-path --ws-origin --ws-forwarder --ws-tls-host --unix --proxy-protocol --proxy-trusted --proxy-identity --ban-file --acl-file --dynamic-security-file --allow-anonymous --auth-method --auth-password-file --scram-file --jwt-issuer --jwt-audience --jwt-algorithm --jwt-key-file --jwt-fallback-key --jwt-jwks-uri --jwt-jwks-refresh --jwt-clock-skew --jwt-issuer-prefix --jwt-auth-mode --jwt-role-claim --jwt-role-map --jwt-trusted-role-claim --jwt-default-roles --auth-http-uri --auth-http-ca-cert --auth-http-timeout --auth-http-cache --storage-backend --storage-dir --no-persistence --durability --durability-for --storage-damaged --store-bytes-max --log-level --log-json --no-watch --max-qos --no-retain --no-wildcards --no-shared --no-subscription-identifiers --keep-alive --keep-alive-max --session-expiry --topic-alias-maximum --topic-alias-outgoing-max --response-information --no-sys-topics --sys-interval --max-clients --sessions-max --connect-timeout --connect-packet-max --maximum-packet-size --receive-maximum --inflight-max --client-id-size-max --subscriptions-max --subscriptions-per-session-max --topic-levels-max --user-properties-max --queued-messages-max --queued-bytes-max --output-bytes-max --retained-messages-max --retained-bytes-max --retained-message-size-max --memory-max --connections-per-user-max --connections-per-address-max --subscriptions-per-user-max --client-messages-in --client-bytes-in --client-messages-out --client-bytes-out --user-messages-in --user-bytes-in --user-messages-out --user-bytes-out --address-messages-in --address-bytes-in --address-messages-out --address-bytes-out --rate-burst --rate-action --queue-policy --shared-strategy --help' ;;
        pub) words='--topic --message --file --stdin --stdin-lines --null-message --qos --retain --message-expiry-interval --topic-alias --content-type --user-property --response-topic --correlation-data --wait-response --timeout --response-count --output-format --delay --at --repeat --interval --stats --json --url --host --port --username --password --protocol-version --keep-alive --connect-timeout --options-file --quiet --auth-method --jwt-token --tls --ca-cert --capath --cert --key --key-password --insecure --tls-version --tls-server-name --alpn --crl --psk --psk-identity --tls-priorities --tls-key-log --ws --ws-header --ws-subprotocol --unix --max-inflight --receive-maximum --property --non-interactive --auto-reconnect --reconnect-delay --reconnect-delay-max --reconnect-attempts --client-id --id-prefix --no-clean-start --session-expiry --will-topic --will-message --will-qos --will-retain --will-delay --help' ;;
        sub) words='--topic --qos --no-local --retain-handling --retain-as-published --subscription-identifier --unsubscribe --filter-out --no-retained --retained-only --remove-retained --count --timeout --exit-after-subscribe --verbose --format --json --hex --base64 --show-properties --no-line-end --url --host --port --username --password --protocol-version --keep-alive --connect-timeout --options-file --quiet --auth-method --jwt-token --tls --ca-cert --capath --cert --key --key-password --insecure --tls-version --tls-server-name --alpn --crl --psk --psk-identity --tls-priorities --tls-key-log --ws --ws-header --ws-subprotocol --unix --max-inflight --receive-maximum --property --non-interactive --auto-reconnect --reconnect-delay --reconnect-delay-max --reconnect-attempts --client-id --id-prefix --no-clean-start --session-expiry --will-topic --will-message --will-qos --will-retain --will-delay --help' ;;
        bench) words='--mode --duration --warmup --publishers --subscribers --topics --rate --inflight --concurrency --topic --filter --qos --payload-size --client-id --pub-url --json --plot --steady-trim --url --host --port --username --password --protocol-version --keep-alive --connect-timeout --options-file --quiet --tls --ca-cert --capath --cert --key --key-password --insecure --tls-version --tls-server-name --alpn --crl --psk --psk-identity --tls-priorities --tls-key-log --ws --ws-header --ws-subprotocol --unix --help' ;;
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
