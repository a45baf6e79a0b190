package provision

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// What keeps a socket from opening has a remedy.
func TestListening(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EACCES:        `; run it as root, or once: setcap cap_net_bind_service,cap_net_raw+ep "$(command -v k8snode)"`,
		syscall.EPERM:         `; run it as root, or once: setcap cap_net_bind_service,cap_net_raw+ep "$(command -v k8snode)"`,
		syscall.EADDRINUSE:    "; another program has the port: ss -lnptu shows which",
		syscall.EADDRNOTAVAIL: "; the address is none of this machine's",
		syscall.ENODEV:        "no such device",
	} {
		err := listening("TFTP", &net.OpError{Op: "listen", Net: "udp", Err: os.NewSyscallError("bind", errno)})
		if !strings.HasPrefix(err.Error(), "listening for TFTP: ") || !strings.HasSuffix(err.Error(), want) || !errors.Is(err, errno) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

// Whoever is not root hears how to be allowed to have a port below 1024.
func TestListeningWithoutRights(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it needs root, to give it up")
	}
	errs := make(chan error)
	go func() {
		// The system call is of this thread alone, which ends with the goroutine.
		runtime.LockOSThread()
		if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, 65534, 65534, 65534); errno != 0 {
			errs <- errno
			return
		}
		conn, err := net.ListenPacket("udp4", "127.0.0.1:69")
		if err == nil {
			err = conn.Close()
		}
		errs <- err
	}()
	err := <-errs
	if err == nil {
		t.Skip("everybody may have that port here")
	}
	const want = `listening for TFTP: listen udp4 127.0.0.1:69: bind: permission denied; ` +
		`run it as root, or once: setcap cap_net_bind_service,cap_net_raw+ep "$(command -v k8snode)"`
	if got := listening("TFTP", err).Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
