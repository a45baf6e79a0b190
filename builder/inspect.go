package builder

import (
	"context"
	"io/fs"

	"github.com/k8snode/k8snode/images"
)

// Inspect computes the plan of a recipe with the lock that there is, and does
// nothing of it. It opens no socket. The recipe's sources are read from dir.
func Inspect(ctx context.Context, r images.Recipe, dir fs.FS, o Options) (Plan, error) {
	lock, err := ReadLock(r.Spec, o)
	if err != nil {
		return Plan{}, err
	}
	host, err := inspectHost(ctx, o)
	if err != nil {
		return Plan{}, err
	}
	return NewPlan(r, dir, lock, host)
}
