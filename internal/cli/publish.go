package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/library"
	"github.com/k8snode/k8snode/provision/publish"
)

func newPublish(env Env) *cobra.Command {
	var server clientFlags
	var to string
	var activate bool
	var keys []string
	cmd := &cobra.Command{
		Use:   "publish DIR",
		Short: "Send a baked image to a running server, or into a folder that one serves",
		Long: `Send the image in a folder to "k8snode serve --images". What is there already is not
sent: an upload that broke off goes on where it ended, and files that another
image has are linked. The server checks every file before the image appears.

The signature, if "k8snode sign" made one, goes along. A server may want one; with
--image-key it is checked here as well, before anything is sent.

disk.raw stays where it is: disk.raw.zst has the same bytes.`,
		Example: `  k8snode publish out/node --activate
  k8snode publish out/node --to /srv/images`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s needs the folder of an image", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if to != "" && (cmd.Flags().Changed("socket") || server.url != "") {
				return &usageError{"a server and --to are two places", "leave one of them out"}
			}
			o := publish.Options{Logger: env.logger()}
			var err error
			if o.Keys, err = imageKeys(keys); err != nil {
				return err
			}
			if activate {
				o.After = publish.Activate
			}
			return runPublish(cmd.Context(), env, args[0], publishTo{server, to}, o)
		},
	}
	server.add(cmd)
	cmd.Flags().StringVar(&to, "to", "", "folder of images to publish into, without a server")
	addImageKeys(cmd, &keys, "that the image must be signed with")
	cmd.Flags().BoolVar(&activate, "activate", false, "make it the image that new installs get")
	return cmd
}

type publishTo struct {
	server clientFlags
	folder string
}

func (to publishTo) open() (publish.Target, error) {
	if to.folder != "" {
		return library.Open(to.folder, library.Options{})
	}
	return to.server.open()
}

func runPublish(ctx context.Context, env Env, dir string, to publishTo, o publish.Options) error {
	// So that no later "no such file" is that of the image.
	if _, err := images.OpenManifest(dir); err != nil {
		return err
	}
	target, err := to.open()
	if err != nil {
		return err
	}
	m, err := publish.Image(ctx, dir, target, o)
	if err != nil && to.folder == "" {
		return to.server.reached(err)
	}
	if err != nil {
		return err
	}
	fmt.Fprintln(env.Stdout, m.ID)
	return nil
}

func newImages(env Env) *cobra.Command {
	var server clientFlags
	var output string
	cmd := &cobra.Command{
		Use:     "images",
		Short:   "Show, activate and remove the images of a running server",
		Example: "  k8snode images list\n  k8snode images activate 3f2a\n  k8snode images remove 3f2a",
	}
	list := &cobra.Command{
		Use:     "list",
		Short:   "Show the images of a running server",
		Example: "  k8snode images list\n  k8snode images list -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "table" && output != "json" {
				return &usageError{fmt.Sprintf("there is no output %q", output), "use -o table or -o json"}
			}
			client, err := server.open()
			if err != nil {
				return err
			}
			all, err := client.Images(cmd.Context())
			if err != nil {
				return server.reached(err)
			}
			if output == "json" {
				e := json.NewEncoder(env.Stdout)
				e.SetIndent("", "  ")
				return e.Encode(all)
			}
			return printImages(env.Stdout, all)
		},
	}
	list.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	server.add(list)
	cmd.AddCommand(list,
		imageVerb(env, imageAction{
			verb: "activate", short: "Make an image the one that new installs get",
			long: "Make an image the one that new installs get. A node that is armed keeps the image that it was armed with.",
			do:   (*admin.Client).Activate,
		}),
		imageVerb(env, imageAction{
			verb: "remove", short: "Remove an image from a running server",
			long: "Remove an image from a running server, or what has arrived of one. The active\nimage, and one that a node is armed with, stay.",
			do:   (*admin.Client).Remove,
		}))
	return cmd
}

type imageAction struct {
	verb, short, long string
	do                func(c *admin.Client, ctx context.Context, id string) error
}

func imageVerb(env Env, a imageAction) *cobra.Command {
	var server clientFlags
	cmd := &cobra.Command{
		Use: a.verb + " ID", Short: a.short, Long: a.long + "\n\nThe beginning of an ID is enough, if only one image has it.",
		Example: "  k8snode images " + a.verb + " 3f2a",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%s needs the ID of an image", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := server.open()
			if err != nil {
				return err
			}
			all, err := client.Images(cmd.Context())
			if err != nil {
				return server.reached(err)
			}
			id, err := imageID(all, args[0])
			if err != nil {
				return err
			}
			if err := a.do(client, cmd.Context(), id); err != nil {
				return err
			}
			fmt.Fprintln(env.Stdout, id)
			return nil
		},
	}
	server.add(cmd)
	return cmd
}

// imageID finds the one image whose ID begins so.
func imageID(all []admin.Image, prefix string) (string, error) {
	var found []string
	for _, i := range all {
		if i.ID == prefix {
			return prefix, nil
		}
		if strings.HasPrefix(i.ID, prefix) {
			found = append(found, i.ID)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return "", fmt.Errorf("there is no image %s: see \"k8snode images list\"", prefix)
	}
	return "", fmt.Errorf("%s is the beginning of several images: %s", prefix, strings.Join(found, ", "))
}

func printImages(w io.Writer, all []admin.Image) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tNAME\tKUBERNETES\tKERNEL\tSIZE\tSTATE")
	for _, i := range all {
		state := ""
		switch {
		case i.Active:
			state = "active"
		case i.Upload != nil:
			state = fmt.Sprintf("upload %d%%", i.Upload.Have*100/max(i.Size, 1))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, i.Name, i.Kubernetes, i.Kernel, size(i.Size), state)
	}
	return t.Flush()
}
