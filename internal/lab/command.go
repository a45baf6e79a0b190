package lab

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
)

// namespaceDir is where ip-netns(8) keeps its names.
const namespaceDir = "/run/netns"

// bridgeCommands are the ip(8) arguments that make the bridge of a new
// namespace. It gets no uplink.
func bridgeCommands(namespace, bridge string, address netip.Prefix) [][]string {
	return [][]string{
		{"-n", namespace, "link", "set", "lo", "up"},
		{"-n", namespace, "link", "add", bridge, "type", "bridge"},
		{"-n", namespace, "address", "add", address.String(), "dev", bridge},
		{"-n", namespace, "link", "set", bridge, "up"},
	}
}

// tapCommands are the ip(8) arguments that plug a new tap into the bridge.
func tapCommands(namespace, bridge, tap string) [][]string {
	return [][]string{
		{"-n", namespace, "tuntap", "add", "dev", tap, "mode", "tap"},
		{"-n", namespace, "link", "set", tap, "master", bridge, "up"},
	}
}

// ip runs ip(8) and returns what it printed; the error carries that too.
func ip(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running \"ip %s\": %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// namespacePIDs lists the processes that run inside a namespace.
func namespacePIDs(ctx context.Context, namespace string) ([]processID, error) {
	out, err := ip(ctx, "netns", "pids", namespace)
	if err != nil {
		return nil, err
	}
	var ids []processID
	for _, field := range strings.Fields(out) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("reading the pids of namespace %s: %w", namespace, err)
		}
		id, err := identify(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}
