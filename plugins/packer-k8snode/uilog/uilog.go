// Package uilog is a log handler that writes to Packer's UI: a line for each
// step that is done, and warnings as errors, which Packer shows in red.
package uilog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"
)

// New returns the handler.
func New(ui packersdk.Ui) slog.Handler { return handler{ui: ui} }

type handler struct {
	ui    packersdk.Ui
	attrs string
}

// Enabled leaves out what is for debugging.
func (h handler) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }

// Handle writes one line.
func (h handler) Handle(_ context.Context, r slog.Record) error {
	var step string
	var took time.Duration
	var rest strings.Builder
	rest.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "step":
			step = a.Value.String()
		case "took":
			took, _ = a.Value.Any().(time.Duration)
		default:
			rest.WriteString(text(a))
		}
		return true
	})
	switch {
	case r.Message == "done" && step != "":
		h.ui.Sayf("%7.1f s  %s", took.Seconds(), step)
	case r.Level >= slog.LevelWarn:
		h.ui.Error(r.Message + rest.String())
	default:
		h.ui.Say(r.Message + rest.String())
	}
	return nil
}

// WithAttrs adds to every line.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.attrs += text(a)
	}
	return h
}

// WithGroup changes nothing: the builder has no groups.
func (h handler) WithGroup(string) slog.Handler { return h }

func text(a slog.Attr) string { return fmt.Sprintf(" %s=%v", a.Key, a.Value) }
