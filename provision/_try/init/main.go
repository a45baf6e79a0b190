package main

import (
	"fmt"
	"os"
	"syscall"
)

func main() {
	b, err := os.ReadFile("/etc/k8snode/seed.json")
	i, _ := os.Stat("/etc/k8snode/seed.json")
	fmt.Println("INIT-SAYS seed bytes", len(b), err, i)
	os.Stdout.Sync()
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
}
