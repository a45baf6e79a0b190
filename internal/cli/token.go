package cli

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/provision/access"
)

func newToken(env Env) *cobra.Command {
	var role, file string
	cmd := &cobra.Command{
		Use:   "token NAME",
		Short: "Make a token for somebody who may reach the site of a server",
		Long: `Make a token for somebody, or something, that may reach the site of "k8snode serve
--operators". The token is printed once and kept nowhere: the file of tokens gets its
SHA-256, with the name and the role. A server reads the file anew when it changes, so
that a line taken out of it ends the token and every session that it began.

A viewer sees everything, an operator may open windows as well.`,
		Example: `  k8snode token prometheus --role viewer --tokens tokens > prometheus.token
  k8snode token anna --role operator --tokens tokens`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s needs a name", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			token, line, err := access.NewToken(env.Rand, args[0], access.Role(role))
			if err != nil {
				return &usageError{err.Error(), ""}
			}
			if err := appendToken(file, args[0], access.Role(role), line); err != nil {
				return err
			}
			_, err = fmt.Fprintln(env.Stdout, token)
			return err
		},
	}
	cmd.Flags().StringVar(&role, "role", string(access.Viewer), "viewer or operator")
	cmd.Flags().StringVar(&file, "tokens", "tokens", "file of tokens that gets the line; it is made if there is none")
	return cmd
}

// appendToken adds the line of a new token to a file that is good, and stays so.
func appendToken(file, name string, role access.Role, line string) error {
	before, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("reading the tokens: %w", err)
	}
	tokens, err := access.ParseTokens(file, before)
	if err != nil {
		return err
	}
	if other, ok := tokens.Role(name); ok && other != role {
		return fmt.Errorf("%s has %q as %s already: a name has one role; use another name, or take its lines out of the file first", file, name, other)
	}
	if len(before) > 0 && before[len(before)-1] != '\n' {
		line = "\n" + line
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("writing the tokens: %w", err)
	}
	// One write: a server that reads meanwhile sees all of the line or nothing.
	_, err = f.WriteString(line)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("writing the tokens: %w", err)
	}
	return nil
}
