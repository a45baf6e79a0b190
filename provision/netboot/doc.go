// Package netboot gives a machine without a disk its address and its first
// program: DHCP and TFTP for one interface.
//
// The flow: [Reply] decides, as a pure function, what a request is answered
// with; [DHCP] reads packets, calls it and sends the answers; [TFTP] serves the
// one boot loader. What a client is told to load depends on what it is:
//
//	iPXE              the boot script, by HTTP
//	UEFI HTTP boot    ipxe.efi, by HTTP
//	UEFI PXE, x86-64  ipxe.efi, by TFTP
//	anything else     an address only
//
// Promises: only the machines of the configuration are answered, each always
// with its own address, so that a server started on a wrong network gives
// nothing to a stranger; answers reach a client that has no address yet; TFTP
// reads one file and writes none.
//
// Where another server gives the addresses, [ProxyReply] decides and [Proxy] sends
// what to load alone: to who boots from the network, in the first answer, and again
// where firmware asks for it (port 4011).
//
// There is no address pool and no lease database, as every address is fixed, and
// no boot for machines without UEFI that are not already in iPXE.
//
// Start with [Reply].
package netboot
