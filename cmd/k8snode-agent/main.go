// Command k8snode-agent is the part of k8snode that runs on a machine: see
// package agent.
package main

import (
	"context"
	"crypto/rand"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/k8snode/k8snode/agent"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := agent.Run(ctx, agent.Env{Stdout: os.Stdout, Stderr: os.Stderr, Now: time.Now, Rand: rand.Reader}, os.Args[1:])
	stop()
	os.Exit(code)
}
