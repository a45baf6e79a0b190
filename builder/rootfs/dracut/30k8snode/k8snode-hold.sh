#!/bin/sh
# Says on the console what failed, and stays. A machine that reboots by itself
# would install over and over, one with a shell would be open to the room.
export SYSTEMD_COLORS=0
echo "k8snode: HOLD. Failed units:" > /dev/console
systemctl --no-pager --no-legend --plain --failed list-units > /dev/console 2>&1 || :
for unit in $(systemctl --no-pager --no-legend --plain --failed list-units | while read -r name _; do echo "$name"; done); do
    case "$unit" in
        # Its errors, but not the whole config that it prints besides.
        ignition-*) journalctl -b --no-pager -o cat -n 15 -p err -u "$unit" > /dev/console 2>&1 || : ;;
        *) journalctl -b --no-pager -o cat -n 15 -u "$unit" > /dev/console 2>&1 || : ;;
    esac
done
echo "k8snode: power-cycle this machine after correcting the cause (k8snode nodes shows its last report)." > /dev/console
exec sleep infinity
