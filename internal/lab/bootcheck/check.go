package bootcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/k8snode/k8snode/internal/lab"
)

// A Check is one question to a running system.
type Check struct {
	// Name says what must be true.
	Name string
	// Command is run by a shell, as root. Its exit code must be 0.
	Command string
	// Judge says what is wrong with the standard output, without spaces at
	// its ends; nil accepts every output.
	Judge func(stdout string) error
}

// A Runner runs commands in a system; [lab.Guest] is one.
type Runner interface {
	Run(ctx context.Context, command string) (lab.Result, error)
}

// Verify makes all checks and reports every one that fails. It ends early when
// the system does not answer.
func Verify(ctx context.Context, system Runner, checks []Check) error {
	var problems []error
	for _, c := range checks {
		result, err := system.Run(ctx, c.Command)
		if err != nil {
			return errors.Join(append(problems, err)...)
		}
		if err := c.judge(result); err != nil {
			problems = append(problems, fmt.Errorf("not so: %s: %w", c.Name, err))
		}
	}
	return errors.Join(problems...)
}

func (c Check) judge(r lab.Result) error {
	stdout := strings.TrimSpace(r.Stdout)
	if r.Code != 0 {
		return fmt.Errorf("its command ended with exit code %d: %s", r.Code, strings.TrimSpace(stdout+"\n"+r.Stderr))
	}
	if c.Judge == nil {
		return nil
	}
	return c.Judge(stdout)
}

// equals accepts one output.
func equals(want string) func(string) error {
	return func(got string) error {
		if got != want {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		return nil
	}
}

// contains accepts an output that has all of these words.
func contains(want ...string) func(string) error {
	return func(got string) error {
		words := strings.FieldsFunc(got, func(r rune) bool { return strings.ContainsRune(" ,\t\n", r) })
		have := make(map[string]bool, len(words))
		for _, w := range words {
			have[w] = true
		}
		var missing []string
		for _, w := range want {
			if !have[w] {
				missing = append(missing, w)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%q is missing in %q", missing, abridge(got))
		}
		return nil
	}
}

// abridge keeps an error readable.
func abridge(s string) string {
	const limit = 400
	if len(s) <= limit {
		return s
	}
	return s[:limit] + "..."
}
