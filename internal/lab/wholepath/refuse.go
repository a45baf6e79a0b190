package wholepath

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/k8snode/k8snode/provision/access"
	"github.com/k8snode/k8snode/provision/api"
)

// refuseThenArm sees that nobody is given anything before an operator opens a
// window, and that a window is for its machine only.
func refuseThenArm(ctx context.Context, k8snode tool, stranger attacker) error {
	nodes := k8snode.docs.spec.Spec.Nodes
	if err := expectPhase(ctx, k8snode, api.PhaseRegistered); err != nil {
		return err
	}
	status, err := stranger.config(ctx)
	if err != nil {
		return err
	}
	if err := refused("a config without a token", status, http.StatusUnauthorized, http.StatusForbidden); err != nil {
		return err
	}
	for _, n := range nodes {
		// From the machine's own address, so that only the closed window is
		// left to refuse it.
		if err := stranger.impersonate(ctx, n.IP(), func() error {
			status, err := stranger.seed(ctx, n.IP(), n)
			if err != nil {
				return err
			}
			return refused("the seed of closed node "+n.Name, status, http.StatusNotFound, http.StatusForbidden)
		}); err != nil {
			return err
		}
	}
	if err := expectRefusals(ctx, k8snode, 1); err != nil {
		return err
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	if err := viewerOnlySees(ctx, k8snode, names[0]); err != nil {
		return err
	}
	if err := k8snode.arm(ctx, names...); err != nil {
		return err
	}
	if err := expectPhase(ctx, k8snode, api.PhaseArmed); err != nil {
		return err
	}
	for _, n := range nodes {
		status, err := stranger.seed(ctx, netip.Addr{}, n)
		if err != nil {
			return err
		}
		if err := refused("the seed of "+n.Name+" for another address", status, http.StatusNotFound, http.StatusForbidden); err != nil {
			return err
		}
	}
	return expectRefusals(ctx, k8snode, 2)
}

// viewerOnlySees sees that the server's site tells a viewer everything, and lets
// them change nothing.
func viewerOnlySees(ctx context.Context, k8snode tool, name string) error {
	nodes, err := k8snode.bySite(ctx, access.Viewer, "nodes")
	if err != nil {
		return err
	}
	if !strings.Contains(string(nodes), name) {
		return fmt.Errorf("a viewer does not see node %s: %s", name, nodes)
	}
	if _, err := k8snode.bySite(ctx, access.Viewer, "arm", name); err == nil || !strings.Contains(err.Error(), "may only look") {
		return fmt.Errorf("a viewer arms node %s: %w", name, err)
	}
	return expectPhase(ctx, k8snode, api.PhaseRegistered)
}

func expectPhase(ctx context.Context, k8snode tool, want api.Phase) error {
	nodes, err := k8snode.nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Phase != want {
			return fmt.Errorf("node %s is %s, want %s", n.Name, n.Phase, want)
		}
	}
	return nil
}

// expectRefusals sees that the operator can see that many refusals of every
// node.
func expectRefusals(ctx context.Context, k8snode tool, least int) error {
	nodes, err := k8snode.nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.Refused < least {
			return fmt.Errorf("node %s shows %d refused requests, want at least %d", n.Name, n.Refused, least)
		}
	}
	return nil
}

// refuseSecondReader sees that a config that was delivered is not delivered
// again to somebody who only knows where it was.
func refuseSecondReader(ctx context.Context, k8snode tool, stranger attacker) error {
	nodes := k8snode.docs.spec.Spec.Nodes
	status, err := stranger.config(ctx)
	if err != nil {
		return err
	}
	if err := refused("a delivered config without a token", status, http.StatusUnauthorized, http.StatusForbidden); err != nil {
		return err
	}
	for _, n := range nodes {
		status, err := stranger.seed(ctx, netip.Addr{}, n)
		if err != nil {
			return err
		}
		if err := refused("the seed of installed node "+n.Name, status, http.StatusNotFound, http.StatusForbidden); err != nil {
			return err
		}
	}
	return expectRefusals(ctx, k8snode, 3)
}
