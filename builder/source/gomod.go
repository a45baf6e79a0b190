package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"github.com/k8snode/k8snode/images"
)

// Module is a pinned Go module.
type Module struct {
	Path    string `json:"path"`
	Version string `json:"version"`
	// Sum and GoModSum are the h1: hashes of the module and of its go.mod, as
	// in go.sum. With them its go.mod pins every dependency.
	Sum      string `json:"sum"`
	GoModSum string `json:"goModSum"`
}

// Go is the Go command and what it needs of the environment.
type Go struct {
	// Env are KEY=value settings of the commands, normally the caller's whole
	// environment: GOPROXY, GOMODCACHE and GOCACHE are honoured.
	Env []string
	// Jobs limits parallel compilation; zero leaves it to the Go command.
	Jobs int
	// Offline takes everything from the module cache.
	Offline bool
}

// moduleInfo is the part of "go mod download -json" that we use.
type moduleInfo struct {
	Path, Version, Dir, Sum, GoModSum, GoMod, Error string
}

// Resolve pins a module, checked against the checksum database.
func (g Go) Resolve(ctx context.Context, path, version string) (Module, error) {
	d, err := g.download(ctx, path, version)
	if err != nil {
		return Module{}, err
	}
	return Module{Path: path, Version: version, Sum: d.Sum, GoModSum: d.GoModSum}, nil
}

// Toolchain returns the compiler's version and target, which belong to the key
// of everything that it makes.
func (g Go) Toolchain(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOARCH", "GOAMD64")
	cmd.Env = g.env()
	cmd.Dir = os.TempDir()
	out, err := Run(cmd)
	if err != nil {
		return "", fmt.Errorf("asking the Go toolchain: %w", err)
	}
	return strings.Join(strings.Fields(string(out)), " "), nil
}

// Build compiles the programs of m into dir, one file for each program name.
// All packages of a module go through one compile.
func (g Go) Build(ctx context.Context, want images.Module, pin Module, dir string) error {
	w, err := g.wrap(ctx, want, pin, dir)
	if err != nil {
		return fmt.Errorf("building %s@%s: %w", pin.Path, pin.Version, err)
	}
	defer os.RemoveAll(w.dir)
	bin := filepath.Join(w.dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return err
	}
	if pkgs := Packages(want); len(pkgs) > 0 {
		args := append([]string{"build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags(want), "-o", bin + "/"}, g.buildArgs(want)...)
		if _, err := g.inside(ctx, w, want, append(args, pkgs...)); err != nil {
			return fmt.Errorf("building %s@%s: %w", pin.Path, pin.Version, err)
		}
	}
	for _, p := range want.Programs {
		built := filepath.Join(bin, binaryName(p.Package))
		if p.CSource != "" {
			built = filepath.Join(bin, ProgramName(p))
			cmd := exec.CommandContext(ctx, "gcc", "-Os", "-Wall", "-static", "-s", "-Wl,--build-id=none",
				"-DVERSION="+pin.Version, "-o", built, filepath.Join(w.module, filepath.FromSlash(p.CSource)))
			cmd.Env = g.Env
			if _, err := Run(cmd); err != nil {
				return fmt.Errorf("building %s of %s@%s: %w", p.CSource, pin.Path, pin.Version, err)
			}
		}
		if err := os.Rename(built, filepath.Join(dir, ProgramName(p))); err != nil {
			return fmt.Errorf("building %s@%s: %w", pin.Path, pin.Version, err)
		}
	}
	return nil
}

// Fetch brings a module, and every other that its programs are compiled from,
// into the module cache. Work is a folder for temporary files. It returns the
// names of the modules, "path@version", sorted; offline it only sees that they
// are all there.
func (g Go) Fetch(ctx context.Context, want images.Module, pin Module, work string) ([]string, error) {
	w, err := g.wrap(ctx, want, pin, work)
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(w.dir)
	modules := []string{pin.Path + "@" + pin.Version}
	pkgs := Packages(want)
	if len(pkgs) == 0 {
		return modules, nil
	}
	// What is loaded here is what a build loads.
	const format = "{{with .Module}}{{with .Replace}}{{.Path}}@{{.Version}}{{else}}{{.Path}}@{{.Version}}{{end}}{{end}}"
	out, err := g.inside(ctx, w, want, append(append([]string{"list", "-deps", "-f", format}, g.buildArgs(want)...), pkgs...))
	if err != nil {
		return nil, fmt.Errorf("fetching what %s@%s is built from: %w", pin.Path, pin.Version, err)
	}
	modules = append(modules, strings.Fields(string(out))...)
	slices.Sort(modules)
	return slices.Compact(modules), nil
}

// wrapper is a module of our own in dir that requires the module, whose source
// is in the folder module.
type wrapper struct{ dir, module string }

// wrap makes a wrapper below dir. The caller removes it.
func (g Go) wrap(ctx context.Context, want images.Module, pin Module, dir string) (wrapper, error) {
	d, err := g.fetch(ctx, pin)
	if err != nil {
		return wrapper{}, err
	}
	gomod, err := os.ReadFile(filepath.Join(d.Dir, "go.mod"))
	if err != nil {
		return wrapper{}, fmt.Errorf("reading the go.mod of %s@%s: %w", pin.Path, pin.Version, err)
	}
	text, err := Wrapper(gomod, want)
	if err != nil {
		return wrapper{}, err
	}
	w := wrapper{module: d.Dir}
	if w.dir, err = os.MkdirTemp(dir, "wrapper-"); err != nil {
		return wrapper{}, err
	}
	sum, err := os.ReadFile(filepath.Join(d.Dir, "go.sum"))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	err = errors.Join(err,
		os.WriteFile(filepath.Join(w.dir, "go.mod"), text, 0o644),
		os.WriteFile(filepath.Join(w.dir, "go.sum"), sum, 0o644))
	if err != nil {
		os.RemoveAll(w.dir)
		return wrapper{}, err
	}
	return w, nil
}

// inside runs the Go command in a wrapper.
func (g Go) inside(ctx context.Context, w wrapper, want images.Module, args []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = w.dir
	cmd.Env = append(g.env(), cgoEnv(want), "GOWORK=off")
	return Run(cmd)
}

// env is the environment of the Go command. Offline the lock has the sums that
// the checksum database confirmed.
func (g Go) env() []string {
	env := slices.Clone(g.Env)
	if g.Offline {
		env = append(env, "GOPROXY=off", "GOSUMDB=off", "GOTOOLCHAIN=local")
	}
	return env
}

// Packages returns the main packages of a module, sorted.
func Packages(m images.Module) []string {
	var pkgs []string
	for _, p := range m.Programs {
		if p.Package != "" {
			pkgs = append(pkgs, p.Package)
		}
	}
	slices.Sort(pkgs)
	return pkgs
}

// ProgramName is the name under which the recipe refers to a program.
func ProgramName(p images.Program) string {
	if p.Name != "" {
		return p.Name
	}
	return binaryName(p.Package)
}

// binaryName is what "go build -o DIR/" calls a program: the last element of
// the import path that is not a major version.
func binaryName(pkg string) string {
	elems := strings.Split(pkg, "/")
	last := elems[len(elems)-1]
	if len(elems) > 1 && len(last) > 1 && last[0] == 'v' && strings.Trim(last[1:], "0123456789") == "" {
		last = elems[len(elems)-2]
	}
	return last
}

// Wrapper returns the go.mod of a module of our own that requires the wanted
// one as its go.mod would build it alone: replace directives of a dependency
// have no effect, so they are repeated, and those that point into the module's
// own repository are turned to the version that the recipe names.
func Wrapper(gomod []byte, want images.Module) ([]byte, error) {
	in, err := modfile.Parse("go.mod of "+want.Module, gomod, nil)
	if err != nil {
		return nil, fmt.Errorf("reading the go.mod of %s: %w", want.Module, err)
	}
	out := new(modfile.File)
	if err := out.AddModuleStmt("k8snode.io/wrapper"); err != nil {
		return nil, err
	}
	if in.Go != nil {
		if err := out.AddGoStmt(in.Go.Version); err != nil {
			return nil, err
		}
	}
	for _, g := range in.Godebug {
		if err := out.AddGodebug(g.Key, g.Value); err != nil {
			return nil, err
		}
	}
	for _, r := range in.Require {
		if err := out.AddRequire(r.Mod.Path, r.Mod.Version); err != nil {
			return nil, err
		}
	}
	if err := out.AddRequire(want.Module, want.Version); err != nil {
		return nil, err
	}
	for _, r := range in.Replace {
		to, version := r.New.Path, r.New.Version
		if modfile.IsDirectoryPath(to) {
			if !semver.IsValid(want.LocalReplaceVersion) {
				return nil, fmt.Errorf("module %s@%s replaces %s by the folder %s: name the published version in localReplaceVersion",
					want.Module, want.Version, r.Old.Path, to)
			}
			if r.Old.Path == want.Module {
				continue
			}
			to, version = r.Old.Path, want.LocalReplaceVersion
		}
		if err := out.AddReplace(r.Old.Path, r.Old.Version, to, version); err != nil {
			return nil, err
		}
	}
	out.Cleanup()
	return out.Format()
}

// buildArgs are the flags that decide what is loaded.
func (g Go) buildArgs(want images.Module) []string {
	args := []string{"-mod=mod"}
	if len(want.Tags) > 0 {
		args = append(args, "-tags", strings.Join(want.Tags, ","))
	}
	if g.Jobs > 0 {
		args = append(args, fmt.Sprintf("-p=%d", g.Jobs))
	}
	return args
}

func ldflags(want images.Module) string {
	flags := []string{"-s", "-w", "-buildid="}
	for _, x := range want.LDFlags {
		flags = append(flags, "-X", x)
	}
	return strings.Join(flags, " ")
}

func cgoEnv(want images.Module) string {
	if want.Cgo {
		return "CGO_ENABLED=1"
	}
	return "CGO_ENABLED=0"
}

func (g Go) download(ctx context.Context, path, version string) (moduleInfo, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", path+"@"+version)
	cmd.Env = append(g.env(), "GOWORK=off", "GOFLAGS=-mod=mod")
	cmd.Dir = os.TempDir()
	out, runErr := Run(cmd)
	var d moduleInfo
	if err := json.Unmarshal(out, &d); err != nil || d.Error != "" {
		if d.Error != "" {
			return moduleInfo{}, fmt.Errorf("fetching module %s@%s: %s", path, version, d.Error)
		}
		return moduleInfo{}, fmt.Errorf("fetching module %s@%s: %w", path, version, runErr)
	}
	return d, nil
}
