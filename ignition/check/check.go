package check

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/coreos/go-semver/semver"
	"github.com/coreos/ignition/v2/config/util"
	ign30 "github.com/coreos/ignition/v2/config/v3_0"
	ign31 "github.com/coreos/ignition/v2/config/v3_1"
	ign32 "github.com/coreos/ignition/v2/config/v3_2"
	ign33 "github.com/coreos/ignition/v2/config/v3_3"
	ign34 "github.com/coreos/ignition/v2/config/v3_4"
	ign35 "github.com/coreos/ignition/v2/config/v3_5"
	ign36 "github.com/coreos/ignition/v2/config/v3_6"
	"github.com/coreos/vcontext/report"
)

// Errors that Check wraps.
var (
	// ErrEmpty is about a config that leaves a machine without identity.
	ErrEmpty = errors.New("config is empty")
	// ErrSpec is about a version that the target image cannot read.
	ErrSpec = errors.New("config specification is too new")
)

// Check reads the config with Ignition's parser for its declared version,
// which must not be newer than maxSpec, the newest of the target image (for
// instance 3.6.0). The error lists every problem, one per line, with line and
// column in the JSON.
func Check(content []byte, maxSpec string) error {
	if err := check(content, maxSpec); err != nil {
		return fmt.Errorf("checking Ignition config: %w", err)
	}
	return nil
}

func check(content []byte, maxSpec string) error {
	if len(content) == 0 {
		return ErrEmpty
	}
	newest, err := semver.NewVersion(maxSpec)
	if err != nil {
		return fmt.Errorf("newest specification of the image %q: %w", maxSpec, err)
	}
	version, problems, err := util.GetConfigVersion(content)
	if err != nil {
		return listed(problems, err)
	}
	if newest.LessThan(version) {
		return fmt.Errorf("%w: it is %s, the image reads at most %s", ErrSpec, version, newest)
	}
	problems, err = parse(content, version)
	if err != nil || len(problems.Entries) > 0 {
		return listed(problems, err)
	}
	return checkContent(content)
}

// parse calls the parser of one version. The parser that takes every version
// would translate, and drop the report of what it translates from.
func parse(content []byte, version semver.Version) (problems report.Report, err error) {
	switch version.String() {
	case "3.0.0":
		_, problems, err = ign30.Parse(content)
	case "3.1.0":
		_, problems, err = ign31.Parse(content)
	case "3.2.0":
		_, problems, err = ign32.Parse(content)
	case "3.3.0":
		_, problems, err = ign33.Parse(content)
	case "3.4.0":
		_, problems, err = ign34.Parse(content)
	case "3.5.0":
		_, problems, err = ign35.Parse(content)
	case "3.6.0":
		_, problems, err = ign36.Parse(content)
	default:
		err = fmt.Errorf("specification %s is not one of 3.0.0 to 3.6.0", version)
	}
	return problems, err
}

// checkContent refuses a config in which nothing is set but the version.
func checkContent(content []byte) error {
	var sections map[string]any
	if err := json.Unmarshal(content, &sections); err != nil {
		return err
	}
	if ignition, ok := sections["ignition"].(map[string]any); ok {
		delete(ignition, "version")
	}
	if !sets(sections) {
		return fmt.Errorf("%w: it sets nothing but a version", ErrEmpty)
	}
	return nil
}

// sets reports whether any value below v is set.
func sets(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, child := range v {
			if sets(child) {
				return true
			}
		}
		return false
	case []any:
		for _, child := range v {
			if sets(child) {
				return true
			}
		}
		return false
	default:
		return v != nil && !reflect.ValueOf(v).IsZero()
	}
}

// listed joins the report's entries; err stands alone when there are none.
func listed(r report.Report, err error) error {
	if len(r.Entries) == 0 {
		return err
	}
	lines := make([]string, len(r.Entries))
	for i, e := range r.Entries {
		lines[i] = line(e)
	}
	return errors.New(strings.Join(lines, "\n"))
}

func line(e report.Entry) string {
	var b strings.Builder
	if e.Marker.StartP != nil {
		fmt.Fprintf(&b, "%d:%d: ", e.Marker.StartP.Line, e.Marker.StartP.Column)
	}
	if e.Context.Len() > 0 {
		fmt.Fprintf(&b, "%s: ", e.Context)
	}
	return b.String() + e.Message
}
