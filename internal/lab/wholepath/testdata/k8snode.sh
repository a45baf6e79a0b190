#!/bin/sh
# Stands for k8snode up to a server that cannot listen.
case $1 in
secrets | render | token | keygen | sign) ;;
serve)
	case $* in
	*--operators*) ;;
	*)
		echo "k8snode: error: it is not signed" >&2
		exit 1
		;;
	esac
	# It dies after it was started, not while: its pid is recorded first.
	sleep 1
	echo "k8snode: error: listening on 10.77.0.1:8080: address already in use" >&2
	exit 1
	;;
*)
	echo "k8snode: error: no server" >&2
	exit 1
	;;
esac
