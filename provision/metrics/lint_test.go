package metrics_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// lint is what promtool check metrics says.
func lint(t *testing.T, exposed string) []string {
	t.Helper()
	problems, err := promlint.New(strings.NewReader(exposed)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range problems {
		all = append(all, fmt.Sprintf("%s: %s", p.Metric, p.Text))
	}
	return all
}
