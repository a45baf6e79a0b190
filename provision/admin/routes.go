package admin

import (
	"context"
	"net/http"
)

// A route is one thing that the API does. OpenAPI describes what NewHandler serves,
// because both are made of the same routes.
type route struct {
	// pattern is of [http.ServeMux].
	pattern string
	// does says what it does, in a few words; name is for programs that are
	// generated.
	name, does string
	// body and result are examples of what it reads and what it answers; nil for
	// nothing.
	body, result any
	// fails are the codes of the errors that it is known to answer.
	fails []string
	serve http.HandlerFunc
}

// rawBytes stands for a body that is not JSON.
type rawBytes []byte

// manifest stands for an image's manifest.
type manifest map[string]any

func nodeRoutes(b Backend) []route {
	return []route{
		{
			pattern: "GET /nodes", name: "nodes", does: "Every node, in the order of the cluster document", result: []Node{},
			serve: func(w http.ResponseWriter, r *http.Request) {
				nodes, err := b.Nodes(r.Context())
				answer(w, nodes, err)
			},
		},
		{
			pattern: "GET /strangers", name: "strangers", does: "Machines that asked and are no nodes, the newest first", result: []Stranger{},
			serve: func(w http.ResponseWriter, r *http.Request) {
				strangers, err := b.Strangers(r.Context())
				answer(w, strangers, err)
			},
		},
		{
			pattern: "POST /nodes/{name}/arm", name: "arm", does: "Open an install window: the machine is erased in it",
			body: armRequest{}, result: Node{}, fails: []string{"unknown-node", "impossible-window", "no-active-image", "unknown-image", "untrusted-image"},
			serve: func(w http.ResponseWriter, r *http.Request) {
				window, err := readWindow(http.MaxBytesReader(w, r.Body, maxBody))
				if err != nil {
					write(w, http.StatusBadRequest, errorBody{Error: err.Error()})
					return
				}
				n, err := b.Arm(r.Context(), r.PathValue("name"), window)
				answer(w, n, err)
			},
		},
		{
			pattern: "POST /nodes/{name}/disarm", name: "disarm", does: "Close the install window", result: Node{}, fails: []string{"unknown-node"},
			serve: onNode(func(ctx context.Context, name string) (Node, error) { return b.Disarm(ctx, name) }),
		},
		{
			pattern: "POST /nodes/{name}/hold", name: "hold", does: "Keep the node from installing while its window stays open",
			body: holdRequest{}, result: Node{}, fails: []string{"unknown-node", "impossible-window"},
			serve: func(w http.ResponseWriter, r *http.Request) {
				why, err := readWhy(http.MaxBytesReader(w, r.Body, maxBody))
				if err != nil {
					write(w, http.StatusBadRequest, errorBody{Error: err.Error()})
					return
				}
				n, err := b.Hold(r.Context(), r.PathValue("name"), why)
				answer(w, n, err)
			},
		},
		{
			pattern: "POST /nodes/{name}/seed", name: "seed", does: "Mint the install token for a medium; the one before is worth nothing then",
			result: InstallSeed{}, fails: []string{"unknown-node", "closed"},
			serve: func(w http.ResponseWriter, r *http.Request) {
				seed, err := b.Seed(r.Context(), r.PathValue("name"))
				answer(w, seed, err)
			},
		},
		{
			pattern: "POST /nodes/{name}/release", name: "release", does: "Let a held node install again", result: Node{}, fails: []string{"unknown-node", "impossible-window"},
			serve: onNode(func(ctx context.Context, name string) (Node, error) { return b.Release(ctx, name) }),
		},
	}
}

// onNode serves what needs nothing but the name of a node.
func onNode(do func(ctx context.Context, name string) (Node, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n, err := do(r.Context(), r.PathValue("name"))
		answer(w, n, err)
	}
}
