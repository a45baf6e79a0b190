package client

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"

	"github.com/k8snode/k8snode/provision/api"
)

// checkPlan refuses a plan that is incomplete or meant for another node. An
// empty answer decodes as an empty plan only through "{}", which ends here.
func checkPlan(plan api.InstallPlan, node string) error {
	if plan.Node != node {
		return fmt.Errorf("the plan is for node %q, this machine is %q", plan.Node, node)
	}
	for _, field := range []struct {
		name, value string
		may         bool // be empty
	}{
		{"image.diskURL", plan.Image.DiskURL, false},
		{"image.blockMapURL", plan.Image.BlockMapURL, false},
		{"image.manifestURL", plan.Image.ManifestURL, true},
		{"image.signatureURL", plan.Image.SignatureURL, true},
	} {
		if field.may && field.value == "" {
			continue
		}
		u, err := url.Parse(field.value)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return fmt.Errorf("%s %q is not an http URL", field.name, field.value)
		}
	}
	if sum, err := hex.DecodeString(plan.Image.BlockMapSHA256); err != nil || len(sum) != 32 {
		return fmt.Errorf("image.blockMapSHA256 %q is not a SHA-256 digest", plan.Image.BlockMapSHA256)
	}
	if len(plan.Stub) == 0 {
		return errors.New("stub is empty: the node would start without an identity")
	}
	return nil
}
