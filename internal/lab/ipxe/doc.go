// Package ipxe is the firmware of machines that have none: it follows the scripts of the
// provisioning server as iPXE does, up to where a kernel or the local disk is started.
//
// It knows the commands of our scripts and no others: an unknown one is an error, so
// that a script which iPXE would not take is not taken here either. Real iPXE runs them
// in package wholepath.
//
// Start with Run.
package ipxe
