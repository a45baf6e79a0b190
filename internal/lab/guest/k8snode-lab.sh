#!/bin/sh
# Runs, in a guest, the commands that the lab sends through a serial port.
#
# usage: k8snode-lab.sh PORT
#
# A line "ping ID" is answered by "pong ID BOOT_ID", and "run ID COMMAND" by
# "done ID EXIT_CODE :STDOUT :STDERR" when the command has ended; COMMAND and
# the outputs are in base64. Reading ends when the lab hangs up.
port=$1
work=${RUNTIME_DIRECTORY:?}

serve() {
	# A line of User-Mode Linux is a terminal, which would echo and cut lines.
	stty raw -echo 2>/dev/null || :
	while read -r verb id text; do
		case $verb in
		ping)
			echo "pong $id $(cat /proc/sys/kernel/random/boot_id)"
			;;
		run)
			printf %s "$text" | base64 -d >"$work/command"
			sh "$work/command" </dev/null >"$work/stdout" 2>"$work/stderr"
			printf 'done %s %s :' "$id" $?
			base64 -w 0 <"$work/stdout"
			printf ' :'
			base64 -w 0 <"$work/stderr"
			echo
			;;
		esac
	done
}

while :; do
	if [ -e "$port" ]; then
		serve <>"$port" >&0
	fi
	sleep 1
done
