package wholepath

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/k8snode/k8snode/internal/lab"
)

// serveLog is the name of the server's log in the work folder.
const serveLog = "serve.log"

// A Cluster is the end of the story: two machines that run Kubernetes, and
// the server that made them.
type Cluster struct {
	// Dir is the work folder.
	Dir      string
	Network  *lab.Network
	Machines []lab.Machine
	// Kubeconfig is the administrator's; the API server is reached at
	// APIServer from inside the network.
	Kubeconfig string
	APIServer  string
	Timeline   Timeline

	server *lab.Process
	// kubectl is the path of the program.
	kubectl string
}

// Close stops everything. The files remain.
func (c *Cluster) Close(ctx context.Context) error {
	if c.Network == nil {
		return nil
	}
	return c.Network.Close(ctx)
}

// Keep leaves everything running after this process; [lab.Stop] ends it.
func (c *Cluster) Keep() error { return c.Network.Keep() }

// KubectlCommand is a command line that reaches the cluster.
func (c *Cluster) KubectlCommand() string {
	return fmt.Sprintf("ip netns exec %s %s --kubeconfig %s --server %s", c.Network.Name(), c.kubectl, c.Kubeconfig, c.APIServer)
}

// dead says which of the processes has ended, if any.
func (c *Cluster) dead() error {
	if c.server != nil {
		select {
		case <-c.server.Done():
			return fmt.Errorf("the server ended (%w)", cmp.Or(c.server.Err(), errors.New("exit status 0")))
		default:
		}
	}
	for _, m := range c.Machines {
		select {
		case <-m.Exited():
			return fmt.Errorf("machine %s is off", m.Name())
		default:
		}
	}
	return nil
}

// explain adds to an error where to look, and what is there.
func (c *Cluster) explain(err error) error {
	var text strings.Builder
	fmt.Fprintf(&text, "work folder: %s\n", c.Dir)
	if writeErr := c.Timeline.Write(&text); writeErr != nil {
		err = errors.Join(err, writeErr)
	}
	if c.server != nil {
		log := filepath.Join(c.Dir, serveLog)
		fmt.Fprintf(&text, "server log %s ends:\n%s\n", log, lab.Tail(log))
	}
	for _, m := range c.Machines {
		fmt.Fprintf(&text, "console of %s, %s, ends:\n%s\n", m.Name(), m.Console(), lab.Tail(m.Console()))
	}
	return &Error{Err: err, Where: text.String()}
}

// An Error is the end of a story that went wrong.
type Error struct {
	Err error
	// Where names the work folder, the server's log and every console, with
	// their last lines.
	Where string
}

func (e *Error) Error() string { return e.Err.Error() + "\n" + e.Where }

func (e *Error) Unwrap() error { return e.Err }
