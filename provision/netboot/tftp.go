package netboot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pin/tftp/v3"
)

// TFTP serves what load returns as [BootFile], and nothing else, on conn until
// ctx is done, and closes conn. A nil log discards.
func TFTP(ctx context.Context, conn net.PacketConn, load func() ([]byte, error), log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := tftp.NewServer(func(name string, rf io.ReaderFrom) error {
		var peer string
		out, ok := rf.(tftp.OutgoingTransfer)
		if ok {
			addr := out.RemoteAddr()
			peer = addr.String()
		}
		if strings.TrimPrefix(name, "/") != BootFile {
			log.Info("tftp request refused", "address", peer, "file", name)
			return fmt.Errorf("opening %q: %w", name, os.ErrNotExist)
		}
		loader, err := load()
		if err != nil {
			log.Error("tftp request failed", "address", peer, "error", err)
			return errors.New("not available")
		}
		if ok {
			out.SetSize(int64(len(loader)))
		}
		n, err := rf.ReadFrom(bytes.NewReader(loader))
		if err != nil {
			// Usual: firmware asks for the size first and breaks off.
			log.Debug("tftp transfer broken off", "address", peer, "error", err)
			return err
		}
		log.Info("tftp transfer done", "address", peer, "file", name, "bytes", n)
		return nil
	}, nil)
	s.SetTimeout(2 * time.Second)
	s.SetRetries(5)
	stop := context.AfterFunc(ctx, s.Shutdown)
	defer stop()
	defer conn.Close()
	if err := s.Serve(conn); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving TFTP: %w", err)
	}
	return nil
}
