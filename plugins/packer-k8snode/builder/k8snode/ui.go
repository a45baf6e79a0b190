package k8snode

import (
	"fmt"
	"sync"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/k8snode/k8snode/builder"
)

// progressEvery is how often a fetch says how far it is: a line that moves is
// not to be had in Packer's UI.
const progressEvery = 5 * time.Second

// progress says how far a fetch is.
type progress struct {
	ui  packersdk.Ui
	now func() time.Time

	mu          sync.Mutex
	began, said time.Time
}

func newProgress(ui packersdk.Ui, now func() time.Time) *progress { return &progress{ui: ui, now: now} }

func (p *progress) fetched(at builder.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.began.IsZero() {
		p.began, p.said = now, now
	}
	if now.Sub(p.said) < progressEvery {
		return
	}
	p.said = now
	const mib = 1 << 20
	p.ui.Sayf("fetched %d/%d files, %d/%d MiB, %.1f MiB/s", at.Files, at.TotalFiles, at.Bytes/mib, at.TotalBytes/mib,
		float64(at.Bytes)/mib/now.Sub(p.began).Seconds())
}

// summarize tells programs that read Packer's output of every step and artifact.
func summarize(ui packersdk.Ui, r builder.Result) {
	for _, t := range r.Timings {
		took := fmt.Sprintf("%.3f", t.Took.Seconds())
		if t.Cached {
			took = "cached"
		}
		ui.Machine("k8snode-step", t.Step, took)
	}
	for _, a := range r.Manifest.Artifacts {
		ui.Machine("k8snode-artifact", a.Path, fmt.Sprint(a.Size), a.SHA256)
	}
}
