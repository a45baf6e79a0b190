package admin_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/admin"
	"github.com/k8snode/k8snode/provision/library"
)

// shelf is a library with one upload, of which a few bytes are there.
type shelf struct{ got strings.Builder }

func (*shelf) Images(context.Context) ([]admin.Image, error) {
	return []admin.Image{{ID: "aa", Active: true}, {ID: "bb", Size: 9, Upload: &admin.Upload{Have: 3}}}, nil
}

func (*shelf) Begin(_ context.Context, o library.Offer) (library.Upload, error) {
	switch string(o.Manifest) {
	case "one":
		return library.Upload{}, library.ErrSingle
	case "unsigned":
		return library.Upload{}, fmt.Errorf("image %q: %w", "bb", library.ErrUntrusted)
	}
	return library.Upload{ID: string(o.Manifest) + string(o.Signature)}, nil
}

func (s *shelf) Append(_ context.Context, id, path string, offset int64, content io.Reader) (int64, error) {
	switch {
	case id != "bb":
		return 0, fmt.Errorf("publishing image %q: %w", id, library.ErrUnknown)
	case offset != 3:
		return 3, &library.OffsetError{Path: path, Have: 3}
	}
	b, err := io.ReadAll(content)
	if err != nil {
		return 3, err
	}
	if string(b) == "wrong!" {
		return 0, &library.ContentError{Path: path, Want: "x", Got: "y"}
	}
	s.got.WriteString(path + "=" + string(b))
	return 3 + int64(len(b)), nil
}

func (*shelf) Commit(_ context.Context, id string) error {
	if id != "bb" {
		return fmt.Errorf("publishing image %q: %w", id, library.ErrUnknown)
	}
	return nil
}

func (*shelf) Activate(_ context.Context, id string) error {
	return fmt.Errorf("activating image %q: %w", id, library.ErrNoCurrent)
}

func (*shelf) Remove(_ context.Context, id string) error {
	return fmt.Errorf("removing image %q: %w", id, library.ErrCurrent)
}

// What a library answers arrives as the same values and the same errors.
func TestClientOfImages(t *testing.T) {
	ctx := context.Background()
	s := new(shelf)
	client := admin.NewClient(startWith(t, nil, s))

	all, err := client.Images(ctx)
	if err != nil || len(all) != 2 || !all[0].Active || all[1].Upload == nil || all[1].Upload.Have != 3 {
		t.Errorf("images: %+v, %v", all, err)
	}
	if u, err := client.Begin(ctx, library.Offer{Manifest: []byte("  bytes\n")}); err != nil || u.ID != "  bytes\n" {
		t.Errorf("begin: %+v, %v", u, err)
	}
	if u, err := client.Begin(ctx, library.Offer{Manifest: []byte("bytes"), Signature: []byte(" of\nsomebody\n")}); err != nil || u.ID != "bytes of\nsomebody\n" {
		t.Errorf("begin with a signature: %+v, %v", u, err)
	}
	if _, err := client.Begin(ctx, library.Offer{Manifest: []byte("unsigned")}); !errors.Is(err, library.ErrUntrusted) || err.Error() != `image "bb": the image is not trusted` {
		t.Errorf("begin without a signature: %v", err)
	}
	if _, err := client.Begin(ctx, library.Offer{Manifest: make([]byte, images.MaxManifest+1)}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a manifest too large: %v", err)
	}
	if _, err := client.Begin(ctx, library.Offer{Manifest: []byte("one")}); !errors.Is(err, library.ErrSingle) || err.Error() != library.ErrSingle.Error() {
		t.Errorf("begin at a server of one: %v", err)
	}
	if n, err := client.Append(ctx, "bb", "a b/c%2F", 3, strings.NewReader("bytes")); n != 8 || err != nil || s.got.String() != "a b/c%2F=bytes" {
		t.Errorf("append: %d, %v, %q", n, err, s.got.String())
	}
	offset := (*library.OffsetError)(nil)
	if n, err := client.Append(ctx, "bb", "x", 4, strings.NewReader("")); n != 3 || !errors.As(err, &offset) || offset.Have != 3 || offset.Path != "x" {
		t.Errorf("another place: %d, %v", n, err)
	}
	content := (*library.ContentError)(nil)
	want := "x has the digest y, and the manifest says x: it was changed after the bake, or on its way"
	if _, err := client.Append(ctx, "bb", "x", 3, strings.NewReader("wrong!")); !errors.As(err, &content) || err.Error() != want {
		t.Errorf("wrong bytes: %v", err)
	}
	if _, err := client.Append(ctx, "cc", "x", 3, strings.NewReader("")); !errors.Is(err, library.ErrUnknown) {
		t.Errorf("append to nothing: %v", err)
	}
	if err := client.Commit(ctx, "bb"); err != nil {
		t.Errorf("commit: %v", err)
	}
	for _, tt := range []struct {
		name string
		err  error
		is   error
		want string
	}{
		{"commit", client.Commit(ctx, "cc"), library.ErrUnknown, `publishing image "cc": there is no such image`},
		{"activate", client.Activate(ctx, "aa"), library.ErrNoCurrent, `activating image "aa": no image is active`},
		{"remove", client.Remove(ctx, "aa"), library.ErrCurrent, `removing image "aa": it is the image that new installs get`},
	} {
		if !errors.Is(tt.err, tt.is) || tt.err.Error() != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, tt.err, tt.want)
		}
	}
}

func TestHandlerOfImagesRefuses(t *testing.T) {
	h := admin.NewHandler(nil, new(shelf))
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, tt := range []struct {
		method, path, offset string
		status               int
	}{
		{"GET", "/images", "", 200},
		{"PUT", "/images", "", 405},
		{"PATCH", "/images/bb/files/x", "3", 200},
		{"PATCH", "/images/bb/files/x", "", 400},
		{"PATCH", "/images/bb/files/x", "-3", 400},
		{"PATCH", "/images/bb/files/x", "three", 400},
		{"PATCH", "/images/bb/files/x", "0", 409},
		{"PATCH", "/images/cc/files/x", "3", 404},
		{"POST", "/images/bb/commit", "", 200},
		{"POST", "/images/cc/commit", "", 404},
		{"POST", "/images/bb/activate", "", 409},
		{"DELETE", "/images/bb", "", 409},
		{"GET", "/images/bb/commit", "", 405},
	} {
		req, err := http.NewRequest(tt.method, srv.URL+tt.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if tt.offset != "" {
			req.Header.Set("Upload-Offset", tt.offset)
		}
		resp, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tt.status {
			t.Errorf("%s %s at %q: %d, want %d", tt.method, tt.path, tt.offset, resp.StatusCode, tt.status)
		}
		if tt.status == http.StatusConflict && tt.method == "PATCH" {
			if have := resp.Header.Get("Upload-Offset"); have != strconv.Itoa(3) {
				t.Errorf("the offset of the conflict is %q", have)
			}
		}
	}
}
