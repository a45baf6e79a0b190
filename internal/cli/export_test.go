package cli

import "github.com/spf13/cobra"

var (
	PrintBake = printBake
	Size      = size
)

func NewRoot(env Env) *cobra.Command { return newRoot(env) }

func (env Env) PrintError(err error) int { return env.printError(err) }

// For the test of the progress line.
const EraseLine = eraseLine

var NewProgress = newProgress
