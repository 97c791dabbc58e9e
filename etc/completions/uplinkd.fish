# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_uplinkd_global_optspecs
    string join \n h/help V/version
end

function __fish_uplinkd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_uplinkd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_uplinkd_using_subcommand
    set -l cmd (__fish_uplinkd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c uplinkd -n "__fish_uplinkd_needs_command" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -s V -l version -d 'Print version'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "run" -d 'The daemon, from its configuration file'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "demo" -d 'The whole job on this machine, over an emulated link, to a receiver that checks what arrives'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "check-config" -d 'Parse a configuration and check it against this machine; all errors at once'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "ctl" -d 'Ask a running daemon: status, start, stop, restart, keyframe, rate, events'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "devices" -d 'Cameras, sound inputs and encoders of this machine, with what probes say of each encoder'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "report" -d 'Everything that somebody who helps wants to know, in one archive without secrets'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "simulate" -d 'The rate controller over a simulated link, much faster than real time'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "version" -d 'Print the version'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand run" -l config -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand run" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l seconds -d 'How long, from the first encoded picture on; an interrupt (Ctrl-C) ends it earlier, with the summary' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l link -d 'The network between: rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=1,at=40s:rate=1500k,outage=30s+3s' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l save -d 'Write what the receiver gets to a file' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l source -d 'test, a clip, or a capture device below /dev' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l json -d 'Print one JSON object in the end, and nothing else'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -l config -d 'The daemon\'s configuration: it says where its API listens, and where the token is' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -l url -d 'A daemon elsewhere: http://HOST:PORT, https://HOST:PORT or unix:PATH' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -l token-file -d 'The file with the token for --url' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -l ca-file -d 'Certificates to trust with https: the daemon\'s own, or an authority\'s' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "status" -d 'How the streams are, or one of them'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "start" -d 'Put a stream on air'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "stop" -d 'Take a stream off air, until it is started or the daemon is'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "restart" -d 'Begin a stream anew'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "keyframe" -d 'Have the encoder make a key frame'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "rate" -d 'What the rate control has decided, and why'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "events" -d 'What happens, as it happens, until it is interrupted'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "config" -d 'Changes of the configuration, without touching its file'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and not __fish_seen_subcommand_from status start stop restart keyframe rate events config get" -f -a "get" -d 'Any other resource, as curl would get it: /v1/info'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from status" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from start" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from stop" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from restart" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from restart" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from keyframe" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from keyframe" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from rate" -l last-s -d 'How far back, in seconds' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from rate" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from rate" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from events" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "show" -d 'Every setting with its value, and where it comes from'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "check" -d 'Whether these settings could be laid over the file'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "plan" -d 'What would restart'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "apply" -d 'Lay these settings over the file'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "confirm" -d 'Keep what was applied'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "rollback" -d 'Go back to what was before'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from config" -f -a "forget" -d 'Go back to the file alone'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from get" -l json -d 'What the API answers, for programs'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand ctl; and __fish_seen_subcommand_from get" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand devices" -l json -d 'One JSON object instead of text'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand devices" -l probe -d 'Try every encoder that is here, at 1280×720 with 30 pictures a second; takes seconds for each'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand devices" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand report" -l config -d 'The daemon\'s configuration' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand report" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l link -d 'The network: rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=1,at=40s:rate=1500k,outage=30s+3s' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l trace -d 'A recorded link\'s capacity in place of a rate: a Mahimahi trace, or "ms,kbit/s" a line' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l config -d 'Take rates, latency, key frames and sound from a configuration' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l stream -d 'Which of the configuration\'s streams, if it has several' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l latency -d 'Of the receiver\'s buffer, in place of the configuration\'s, or of 2000' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l seconds -d 'How long' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l min-kbps -d 'Lowest rate of the picture' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l max-kbps -d 'Highest rate of the picture' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l start-kbps -d 'Rate of the picture at the start' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l streams -d 'So many streams on the same link; the figures are the first one\'s' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l apart -d 'Each begins so long after the one before' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l encoder -d 'How the encoder behaves: follow=1s,rise=1s,overshoot=0.3,noise=0.15,peak=3.5,floor=110k,keys-on-change=yes,still=20s+60s' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l svg -d 'Draw what happened' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l record -d 'Keep every sample and decision, as the flight recorder does' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l replay -d 'Decide again what a flight recorder has kept, and compare; no link is simulated' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l json -d 'One JSON object in place of text'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand version" -s h -l help -d 'Print help'
