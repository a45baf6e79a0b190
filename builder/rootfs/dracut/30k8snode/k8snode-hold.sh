#!/bin/sh
# Says on the console what failed, and stays. A machine that reboots by itself
# would install over and over, one with a shell would be open to the room.
export SYSTEMD_COLORS=0
echo "k8snode: HOLD. Failed units:" > /dev/console
systemctl --no-pager --no-legend --plain --failed list-units > /dev/console 2>&1 || :
for unit in $(systemctl --no-pager --no-legend --plain --failed list-units | while read -r name _; do echo "$name"; done); do
    case "$unit" in
        ignition-*) echo "k8snode: $unit: see the journal; its output may hold secrets and is not shown here" > /dev/console ;;
        *) journalctl -b --no-pager -o cat -n 15 -u "$unit" > /dev/console 2>&1 || : ;;
    esac
done
echo "k8snode: power-cycle this machine after correcting the cause (k8snode nodes shows its last report)." > /dev/console
exec sleep infinity
