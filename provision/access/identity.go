package access

import (
	"context"
	"fmt"
	"regexp"
)

// A Role is what somebody may do.
type Role string

// The roles. An operator may do everything that a viewer may.
const (
	// Viewer sees everything.
	Viewer Role = "viewer"
	// Operator changes what machines get.
	Operator Role = "operator"
)

// Includes reports whether who has r may do what needs other.
func (r Role) Includes(other Role) bool {
	return r == Operator && (other == Operator || other == Viewer) || r == Viewer && other == Viewer
}

// Method is how somebody proved who they are.
type Method string

// The methods.
const (
	ByCertificate Method = "certificate"
	ByToken       Method = "token"
	BySession     Method = "session"
)

// An Identity is somebody who was let in.
type Identity struct {
	Name   string
	Role   Role
	Method Method
}

// String is for the audit and for logs.
func (i Identity) String() string {
	if i == (Identity{}) {
		return "nobody"
	}
	return fmt.Sprintf("%s (%s, by %s)", i.Name, i.Role, i.Method)
}

// nameRE matches names: they are shown, logged and written in files of words.
var nameRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$`)

type contextKey struct{}

// NewContext returns a context with an identity.
func NewContext(ctx context.Context, i Identity) context.Context {
	return context.WithValue(ctx, contextKey{}, i)
}

// FromContext returns the identity that the guard let in.
func FromContext(ctx context.Context) (Identity, bool) {
	i, ok := ctx.Value(contextKey{}).(Identity)
	return i, ok
}
