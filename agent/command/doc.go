// Package command runs the external programs that the agent needs: sgdisk,
// ctr, etcdctl, kubeadm, kubectl and udevadm.
//
// A [Runner] finds a program in one folder or in PATH, passes its output on
// line by line as it comes, and ends it when the context ends: first with
// SIGTERM, then, after a grace time, with SIGKILL. A program that fails makes
// an [*Error] that carries the command, the last of its output and the cause.
//
// The package decides nothing about arguments: every caller has a pure
// function that computes them, so that they are tested as a []string.
// Arguments never hold secrets (they are visible in /proc).
package command
