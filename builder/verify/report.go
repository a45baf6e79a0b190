package verify

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Finding is one thing that is not as it should be.
type Finding struct {
	// Artifact is the file of the output folder, What is wrong with it.
	Artifact string `json:"artifact"`
	What     string `json:"what"`
	// Remedy is what the reader can do.
	Remedy string `json:"remedy"`
}

func (f Finding) String() string { return f.Artifact + ": " + f.What + "; " + f.Remedy }

// A Timing says how long a check took: the sum of its parts, some of which ran
// side by side.
type Timing struct {
	Check string        `json:"check"`
	Took  time.Duration `json:"took"`
}

// A Report is what [Verify] found.
type Report struct {
	// Name and ID are those of the image.
	Name string `json:"name"`
	ID   string `json:"id"`
	// SignedBy is the ID of the key that signed the image, of those in
	// [Options.Keys]; empty for none.
	SignedBy string `json:"signedBy,omitempty"`
	// Findings are sorted by artifact; none means that the image is good.
	Findings []Finding `json:"findings"`
	// Notes are worth knowing and no fault: programs that run with other
	// rights than their caller's, units that the distribution enables.
	Notes []string `json:"notes"`
	// Files and Bytes are those of the output folder.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// RootFiles and RootBytes are those in the root, unpacked.
	RootFiles int   `json:"rootFiles"`
	RootBytes int64 `json:"rootBytes"`
	// Blocks of the compressed disk, Packages of the SBOM.
	Blocks   int `json:"blocks"`
	Packages int `json:"packages"`
	// Timings are in the order in which the checks began.
	Timings []Timing `json:"timings"`
}

// Err returns the findings as one error, nil when there are none.
func (r Report) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	return &FindingsError{Findings: r.Findings}
}

// FindingsError says that an image is not what it promises to be.
type FindingsError struct{ Findings []Finding }

func (e *FindingsError) Error() string {
	lines := make([]string, 0, len(e.Findings)+1)
	count := "1 problem"
	if len(e.Findings) > 1 {
		count = fmt.Sprintf("%d problems", len(e.Findings))
	}
	lines = append(lines, "verifying the image: "+count)
	for _, f := range e.Findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n  ")
}

// Remedies that many findings share.
const (
	bakeAgain = "bake again"
	copyAgain = "copy the folder again, or bake again"
)

// collector gathers findings of checks that run side by side.
type collector struct {
	mu       sync.Mutex
	findings []Finding
	notes    []string
}

func (c *collector) add(artifact, remedy, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Joined errors have a line each, a finding has one.
	what := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", ", ")
	c.findings = append(c.findings, Finding{artifact, what, remedy})
}

func (c *collector) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

func (c *collector) sorted() ([]Finding, []string) {
	slices.SortFunc(c.findings, func(a, b Finding) int {
		if n := strings.Compare(a.Artifact, b.Artifact); n != 0 {
			return n
		}
		return strings.Compare(a.What, b.What)
	})
	slices.Sort(c.notes)
	return slices.Compact(c.findings), slices.Compact(c.notes)
}
