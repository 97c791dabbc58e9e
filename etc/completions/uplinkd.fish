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
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "devices" -d 'Cameras, sound inputs and encoders of this machine, with what probes say of each encoder'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "report" -d 'Everything that somebody who helps wants to know, in one archive without secrets'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "simulate" -d 'The rate controller over a simulated link, much faster than real time'
complete -c uplinkd -n "__fish_uplinkd_needs_command" -f -a "version" -d 'Print the version'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand run" -l config -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand run" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l seconds -d 'How long; an interrupt (Ctrl-C) ends it earlier, with the summary' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l link -d 'The network between: rate=6500k,delay=25ms,queue=375000,loss=0.02,jitter=10ms,seed=1,at=40s:rate=1500k,outage=30s+3s' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l save -d 'Write what the receiver gets to a file' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l source -d 'test, a clip, or a capture device below /dev' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -l json -d 'Print one JSON object in the end, and nothing else'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand demo" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand check-config" -s h -l help -d 'Print help'
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
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l law -d 'Other constants of the law, as its source names them, to look for better ones: growth=0.5,drain=900ms' -r
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l svg -d 'Draw what happened' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l record -d 'Keep every sample and decision, as the flight recorder does' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l replay -d 'Decide again what a flight recorder has kept, and compare; no link is simulated' -r -F
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -l json -d 'One JSON object in place of text'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand simulate" -s h -l help -d 'Print help'
complete -c uplinkd -n "__fish_uplinkd_using_subcommand version" -s h -l help -d 'Print help'
