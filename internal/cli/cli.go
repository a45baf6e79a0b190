package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/k8snode/k8snode/internal/report"
)

// Env is what a program takes from its surroundings.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Environ is the environment, "KEY=value".
	Environ []string
	Now     func() time.Time
	Rand    io.Reader
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a command line that makes no sense; hint is what would.
type usageError struct{ msg, hint string }

func (e *usageError) Error() string { return e.msg }

// Run runs one command and returns the exit code.
func Run(ctx context.Context, env Env, args []string) int {
	root := newRoot(env)
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	// What a signal ended complains of much, but that is why.
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = errors.New("interrupted")
	}
	return env.printError(err)
}

func newRoot(env Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "k8snode",
		Short: "Bake node images, and turn machines into Kubernetes nodes",
		Long: `k8snode bakes an immutable image once, boots any machine from it, and gives each
machine its identity on the first boot. A machine is never repaired: it is
imaged again.

  bake       images/recipes/node.yaml ──► out/node
  boot       cluster.yaml + secrets   ──► one Ignition config for each node
  provision  both                     ──► machines that become nodes`,
		Example: `  k8snode bake --recipe node --out out/node --agent bin/k8snode-agent
  k8snode secrets init --out secrets.age --passphrase-file passphrase
  k8snode serve --cluster cluster.yaml --secrets secrets.age --passphrase-file passphrase \
      --image out/node --interface br0
  k8snode arm cp1 w1 --for 45m`,
		Version:                    version(),
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err.Error(), seeHelp(cmd)}
	})
	root.AddCommand(
		newLock(env), newFetch(env), newPlan(env), newBake(env), newVerify(env), newKeygen(env), newSign(env), newBoot(env),
		newInit(env), newSecrets(env), newValidate(env), newDiff(env), newRender(env), newServe(env),
		newPublish(env), newImages(env), newISO(env), newArm(env), newDisarm(env), newHold(env), newRelease(env), newToken(env), newNodes(env), newNode(env), newReimage(env), newUpgrade(env), newPower(env), newDoctor(env), newKubeconfig(env),
	)
	// Cobra would add its own at the end, behind the checks.
	root.SetHelpCommand(newHelp(root))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	checkArgs(root)
	root.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownVerb(cmd, args)
	}
	return root
}

func newHelp(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [VERB...]",
		Short:   "Show the help of a verb",
		Example: `  k8snode help secrets init`,
		Args:    cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, verbs []string) error {
			cmd, rest, err := root.Find(verbs)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownVerb(cmd, rest)
			}
			cmd.InitDefaultHelpFlag()
			return cmd.Help()
		},
	}
}

// checkArgs sees to it that wrong arguments of cmd, and of all below it, are a
// usageError.
func checkArgs(cmd *cobra.Command) {
	if cmd.HasSubCommands() {
		cmd.Args, cmd.RunE, cmd.DisableFlagsInUseLine = cobra.ArbitraryArgs, unknownVerb, true
		for _, sub := range cmd.Commands() {
			checkArgs(sub)
		}
		return
	}
	check := cmd.Args
	if check == nil {
		check = noArgs
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			// Cobra checks them as well, but later, and not as a mistake of usage.
			err = cmd.ValidateFlagGroups()
		}
		if err != nil {
			return &usageError{err.Error(), seeHelp(cmd)}
		}
		return nil
	}
}

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no arguments, got %q", cmd.CommandPath(), args[0])
	}
	return nil
}

// unknownVerb is what a command does that has others below it: cobra calls it
// when none of them was meant.
func unknownVerb(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return &usageError{cmd.CommandPath() + " needs a verb", seeHelp(cmd)}
	}
	hint := seeHelp(cmd)
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+near[0])
	}
	return &usageError{fmt.Sprintf("%s has no verb %q", cmd.CommandPath(), args[0]), hint}
}

func seeHelp(cmd *cobra.Command) string {
	return fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
}

// printError shows an error and returns the exit code for it. Problems of a
// document come with the lines that they are about.
func (env Env) printError(err error) int {
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(env.Stderr, "k8snode: error: %v\n", err)
		fmt.Fprintf(env.Stderr, "k8snode: hint: %s\n", usage.hint)
		return exitUsage
	}
	var problems report.Problems
	if errors.As(err, &problems) {
		env.printProblems(problems)
		return exitFailed
	}
	var findings *findingsError
	if errors.As(err, &findings) {
		findings.print(env.Stderr)
	}
	fmt.Fprintf(env.Stderr, "k8snode: error: %v\n", err)
	return exitFailed
}

// printProblems shows the problems of one document, or of the several that it
// is made of: a recipe, the ones that it extends, and the command line.
func (env Env) printProblems(problems report.Problems) {
	style := report.Plain
	if env.colour() {
		style = report.Colour
	}
	var files []string
	byFile := map[string]report.Problems{}
	for _, p := range problems.Sorted() {
		if byFile[p.File] == nil {
			files = append(files, p.File)
		}
		byFile[p.File] = append(byFile[p.File], p)
	}
	for _, file := range files {
		source, _ := os.ReadFile(file) // without the source the lines are not shown
		fmt.Fprintln(env.Stderr, strings.TrimRight(byFile[file].Format(source, style), "\n")+"\n")
	}
	where := strings.Join(files, ", ")
	errorCount, warnings := len(problems.Of(report.Error)), len(problems.Of(report.Warning))
	switch {
	case warnings == 0:
		fmt.Fprintf(env.Stderr, "k8snode: error: %s in %s\n", count(errorCount, "problem"), where)
	case errorCount == 0:
		fmt.Fprintf(env.Stderr, "k8snode: %s in %s\n", count(warnings, "warning"), where)
	default:
		fmt.Fprintf(env.Stderr, "k8snode: error: %s and %s in %s\n", count(errorCount, "error"), count(warnings, "warning"), where)
	}
}

// terminal reports whether a person looks at standard error.
func (env Env) terminal() bool {
	f, ok := env.Stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (env Env) colour() bool { return env.terminal() && env.getenv("NO_COLOR") == "" }

func (env Env) getenv(key string) string {
	for _, kv := range env.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k == key {
			return v
		}
	}
	return ""
}

func (env Env) cacheDir() (string, error) {
	if d := env.getenv("XDG_CACHE_HOME"); d != "" {
		return filepath.Join(d, "k8snode"), nil
	}
	if home := env.getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "k8snode"), nil
	}
	return "", &usageError{"no cache folder: neither XDG_CACHE_HOME nor HOME is set", "name one with --cache"}
}

// logger writes one plain line for each event.
func (env Env) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Stderr, nil))
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}
