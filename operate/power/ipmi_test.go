package power_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/k8snode/k8snode/operate/power"
)

// simulator is the configuration of ipmi_sim(1), a management controller of its own,
// and chassis the machine that it controls.
const (
	simulator = `name "sim"
set_working_mc 0x20
  startlan 1
    addr 127.0.0.1 %d
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcdef
  endlan
  chassis_control "%s"
  user 1 true "" "test" user 10 none md2 md5 straight
  user 2 true "admin" "secret" admin 10 none md2 md5 straight
`
	emulated = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n"
	chassis  = `#!/bin/sh
cd "$(dirname "$0")" || exit 1
echo "$@" >> said
case "$1 $2" in
"get power") echo "power:$(cat power)" ;;
"set power") echo "$3" > power ;;
"get boot") echo "boot:default" ;;
esac
`
)

// TestIPMI speaks to ipmi_sim, by ipmitool.
func TestIPMI(t *testing.T) {
	for _, program := range []string{"ipmi_sim", "ipmitool"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err, ": scripts/host-packages.sh test installs it")
		}
	}
	dir := t.TempDir()
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	udp, ok := conn.LocalAddr().(*net.UDPAddr)
	if conn.Close(); !ok {
		t.Fatal("no port")
	}
	write(t, dir, "lan.conf", fmt.Sprintf(simulator, udp.Port, filepath.Join(dir, "chassis")))
	write(t, dir, "commands", emulated)
	write(t, dir, "chassis", chassis)
	if err := os.Chmod(filepath.Join(dir, "chassis"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "power", "1\n")
	write(t, dir, "password", "secret\n")
	write(t, dir, "wrong", "wrong\n")
	sim := exec.CommandContext(t.Context(), "ipmi_sim", "-n", "-c", filepath.Join(dir, "lan.conf"), "-f", filepath.Join(dir, "commands"), "-s", dir)
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = sim.Process.Kill()
		_ = sim.Wait() // it was killed
	})
	entry := func(password string) power.Controller {
		return open(t, dir, fmt.Sprintf("ipmi: {address: '127.0.0.1:%d', user: admin, passwordFile: %s, cipherSuite: 3}", udp.Port, password))
	}
	c := entry("password")
	for range 100 {
		if _, err = c.State(t.Context()); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := power.Cycle(t.Context(), c, power.CycleOptions{Patience: time.Minute, Pause: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile(filepath.Join(dir, "said"))
	if err != nil {
		t.Fatal(err)
	}
	var orders []string
	for line := range strings.Lines(string(said)) {
		if strings.HasPrefix(line, "set ") {
			orders = append(orders, strings.TrimSpace(line))
		}
	}
	if got := strings.Join(orders, ", "); got != "set boot pxe, set power 0, set power 1" {
		t.Errorf("the machine was told: %s", got)
	}
	if _, err := entry("wrong").State(t.Context()); err == nil || !strings.Contains(err.Error(), "running ipmitool power status: exit status 1: ") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("a wrong password: %v", err)
	}
	if _, err := (power.IPMI{Address: "127.0.0.1", User: "admin", Program: "no-ipmitool"}).State(t.Context()); err == nil || err.Error() != "no-ipmitool is not installed: apt-get install ipmitool" {
		t.Errorf("without the program: %v", err)
	}
}
