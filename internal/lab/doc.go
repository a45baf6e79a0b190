// Package lab makes test machines on an isolated network: computers that
// k8snode installs, boots, breaks and installs again, on one host, without
// hardware and without KVM.
//
// The flow: [New] makes a [Network] (a network namespace with a bridge and no
// uplink), [NewQEMU] plugs a [Machine] into it, empty or with the media of an
// image, [Machine.Start] presses the power button, [Console.WaitFor] reads
// what the machine says on its serial line, [Guest.Run] runs commands in a
// system whose config installed [GuestUnit], [Network.Close] removes
// everything.
//
// There are two kinds of machines. [QEMU] has firmware, boot loaders, disks of
// any sector size and the image's own kernel, and is slow. [UML] is Linux as a
// program of the host: of the image it has all but the kernel, and it is fast
// enough for four nodes on two processors.
//
// Promises:
//   - Nothing that runs inside a network can reach anything outside of it: the
//     namespace has no route and no interface to the host. Several networks
//     run side by side, with the same addresses.
//   - Whatever a network started is stopped: by Close, by a guard process when
//     the owner dies without calling Close (a panic, a kill, a test timeout),
//     and by the next New when the guard died too. Processes are stopped by
//     recorded pid and start time, so that a recycled pid is never hit.
//   - An image that a disk begins as is never written to.
//   - Nothing else of the host is touched: no bridge, route, sysctl or
//     firewall rule outside the namespace.
//
// It needs root (or CAP_SYS_ADMIN and CAP_NET_ADMIN), /dev/net/tun and ip(8);
// QEMU machines need qemu-system-x86_64, qemu-img and OVMF, UML machines the
// kernel that package umlkernel brings. It does not install
// anything and knows nothing of images or clusters: packages
// bootcheck, ha and wholepath do.
//
// Start with New.
package lab
