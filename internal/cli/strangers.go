package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/k8snode/k8snode/provision/admin"
)

// printStrangers prints the machines that are no nodes.
func printStrangers(ctx context.Context, w io.Writer, server clientFlags, client *admin.Client, output string) error {
	strangers, err := client.Strangers(ctx)
	if err != nil {
		return server.reached(err)
	}
	if output == "table" {
		return strangerTable(w, strangers)
	}
	return (&documents{w: w, format: output}).write(strangers)
}

func strangerTable(w io.Writer, strangers []admin.Stranger) error {
	rows := [][]string{{"MAC", "ADDRESS", "SERIAL", "MACHINE", "ASKED", "LAST", "REASON"}}
	for _, s := range strangers {
		rows = append(rows, []string{
			cmp.Or(strings.Join(s.MACs, ","), "-"), s.Address, cmp.Or(s.Serial, "-"), cmp.Or(strings.TrimSpace(s.Manufacturer+" "+s.Product), "-"),
			fmt.Sprint(s.Count), s.Last.Local().Format("15:04:05"), s.Reason,
		})
	}
	return (&table{w: w}).write(rows)
}
