package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/k8snode/k8snode/agent/retry"
	"github.com/k8snode/k8snode/provision/api"
)

// An Asker speaks to one server as a machine that has no token yet. What the machine
// says of itself is a query with the keys of package api.
type Asker struct{ client *Client }

// NewAsker makes one for the server and the authority of a seed.
func NewAsker(seed api.Seed, opts Options) (*Asker, error) {
	c, err := open(api.Seed{Server: seed.Server, CA: seed.CA}, opts)
	if err != nil {
		return nil, err
	}
	return &Asker{c}, nil
}

// Boot asks, once, what the machine shall do.
func (a *Asker) Boot(ctx context.Context, facts url.Values) (api.BootAnswer, error) {
	var answer api.BootAnswer
	if err := a.get(ctx, api.PathBoot, facts, &answer); err != nil {
		return api.BootAnswer{}, fmt.Errorf("asking what to do: %w", err)
	}
	switch answer.Action {
	case api.ActionInstall, api.ActionLocal, api.ActionWait:
		return answer, nil
	}
	return api.BootAnswer{}, fmt.Errorf("asking what to do: the server says %q, which this image does not know", answer.Action)
}

// Seed asks, once, for the seed of the machine. Its server and authority are those of
// the Asker, whatever the answer says.
func (a *Asker) Seed(ctx context.Context, facts url.Values) (api.Seed, error) {
	var seed api.Seed
	if err := a.get(ctx, api.PathSeed, facts, &seed); err != nil {
		return api.Seed{}, fmt.Errorf("fetching seed: %w", err)
	}
	seed.Server, seed.CA = a.client.seed.Server, a.client.seed.CA
	return seed, nil
}

func (a *Asker) get(ctx context.Context, path string, facts url.Values, v any) error {
	ctx, cancel := context.WithTimeout(ctx, a.client.timeout)
	defer cancel()
	body, err := a.client.call(ctx, http.MethodGet, path+"?"+facts.Encode(), nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return retry.Permanent(fmt.Errorf("reading the answer: %w", err))
	}
	return nil
}
