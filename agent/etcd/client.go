package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// Options of [Dial].
type Options struct {
	// Endpoints are client URLs.
	Endpoints []string
	// CA, Certificate and Key are files, PEM.
	CA, Certificate, Key string
	// TLS takes the place of the files.
	TLS *tls.Config
	// CallTimeout bounds one call; zero means DefaultCallTimeout.
	CallTimeout time.Duration
}

// DefaultCallTimeout is longer than an election of the slow tuning.
const DefaultCallTimeout = 10 * time.Second

// Member is a member of the cluster.
type Member struct {
	ID uint64
	// Name is empty until the member has started once.
	Name       string
	PeerURLs   []string
	ClientURLs []string
	Learner    bool
}

// Errors of members that etcd refuses to change.
var (
	// ErrNotReady: the learner has not caught up.
	ErrNotReady = errors.New("learner is not in sync yet")
	// ErrUnhealthy: the change would cost the quorum, or another learner is
	// not done.
	ErrUnhealthy = errors.New("cluster does not take a change of its members now")
	// ErrExists: a member with that peer URL exists.
	ErrExists = errors.New("member exists")
	// ErrGone: there is no such member.
	ErrGone = errors.New("member does not exist")
)

// A Client is connected to one or more members.
type Client struct {
	client  *clientv3.Client
	timeout time.Duration
}

// Dial prepares a client; it connects when it is first used.
func Dial(opts Options) (*Client, error) {
	config, err := tlsConfig(opts)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates for etcd: %w", err)
	}
	if opts.CallTimeout == 0 {
		opts.CallTimeout = DefaultCallTimeout
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: opts.Endpoints, TLS: config, DialTimeout: opts.CallTimeout,
		DialKeepAliveTime: 10 * time.Second, DialKeepAliveTimeout: 5 * time.Second,
		// What it has to say, its errors say.
		Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("connecting to etcd: %w", err)
	}
	return &Client{client, opts.CallTimeout}, nil
}

// NodeFiles are the options for the certificates in a folder with ca.crt and
// NAME.crt and .key.
func NodeFiles(dir, name string) Options {
	return Options{
		CA:          filepath.Join(dir, "ca.crt"),
		Certificate: filepath.Join(dir, name+".crt"),
		Key:         filepath.Join(dir, name+".key"),
	}
}

func tlsConfig(opts Options) (*tls.Config, error) {
	if opts.TLS != nil {
		return opts.TLS, nil
	}
	ca, err := os.ReadFile(opts.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s holds no certificate", opts.CA)
	}
	pair, err := tls.LoadX509KeyPair(opts.Certificate, opts.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, nil
}

// Close hangs up.
func (c *Client) Close() {
	_ = c.client.Close() // There is nothing to lose.
}

// Members lists the members. It needs a quorum.
func (c *Client) Members(ctx context.Context) ([]Member, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.MemberList(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the members of etcd: %w", err)
	}
	var members []Member
	for _, m := range answer.Members {
		members = append(members, Member{m.ID, m.Name, m.PeerURLs, m.ClientURLs, m.IsLearner})
	}
	if len(members) == 0 {
		return nil, errors.New("listing the members of etcd: the answer has none")
	}
	return members, nil
}

// Status asks one member which one it is. It needs no quorum.
func (c *Client) Status(ctx context.Context, endpoint string) (memberID uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.Status(ctx, endpoint)
	if err != nil {
		return 0, fmt.Errorf("asking %s for its status: %w", endpoint, err)
	}
	return answer.Header.GetMemberId(), nil
}

// A Health is what a member says of itself.
type Health struct {
	ID, Leader uint64
	Learner    bool
	// Size and Quota of its data, in bytes.
	Size, Quota int64
	// Problems are its alarms, and what else it finds wrong.
	Problems []string
}

// Health asks one member how it is. It needs no quorum.
func (c *Client) Health(ctx context.Context, endpoint string) (Health, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.Status(ctx, endpoint)
	if err != nil {
		return Health{}, fmt.Errorf("asking %s for its status: %w", endpoint, err)
	}
	return Health{
		ID: answer.Header.GetMemberId(), Leader: answer.Leader, Learner: answer.IsLearner,
		Size: answer.DbSize, Quota: answer.DbSizeQuota, Problems: answer.Errors,
	}, nil
}

// MoveLeader has the leader, which this client must be connected to, hand over
// to another member.
func (c *Client) MoveLeader(ctx context.Context, to uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if _, err := c.client.MoveLeader(ctx, to); err != nil {
		return fmt.Errorf("moving the leader of etcd to %x: %w", to, err)
	}
	return nil
}

// Snapshot is the database of a member, followed by its SHA-256. It takes as
// long as ctx allows.
func (c *Client) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	snapshot, err := c.client.Snapshot(ctx)
	if err != nil {
		return nil, fmt.Errorf("asking etcd for a snapshot: %w", err)
	}
	return snapshot, nil
}

// ClusterID returns the ID of the cluster that the member is in. It needs a
// quorum.
func (c *Client) ClusterID(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	answer, err := c.client.MemberList(ctx)
	if err != nil {
		return 0, fmt.Errorf("asking etcd for its cluster: %w", err)
	}
	return answer.Header.GetClusterId(), nil
}

// Remove takes a member out of the cluster. The error wraps ErrGone if it is
// not in it.
func (c *Client) Remove(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if _, err := c.client.MemberRemove(ctx, id); err != nil {
		return fmt.Errorf("removing member %x from etcd: %w", id, known(err))
	}
	return nil
}

// AddLearner adds a member that does not vote yet.
func (c *Client) AddLearner(ctx context.Context, peerURL string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if _, err := c.client.MemberAddAsLearner(ctx, []string{peerURL}); err != nil {
		return fmt.Errorf("adding learner %s to etcd: %w", peerURL, known(err))
	}
	return nil
}

// Promote makes a learner a member that votes. The error wraps ErrNotReady
// while it has not caught up.
func (c *Client) Promote(ctx context.Context, id uint64) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	if _, err := c.client.MemberPromote(ctx, id); err != nil {
		return fmt.Errorf("promoting member %x of etcd: %w", id, known(err))
	}
	return nil
}

// known translates the errors of etcd that callers look at.
func known(err error) error {
	for theirs, ours := range map[error]error{
		rpctypes.ErrMemberLearnerNotReady:  ErrNotReady,
		rpctypes.ErrMemberNotEnoughStarted: ErrUnhealthy,
		rpctypes.ErrUnhealthy:              ErrUnhealthy,
		rpctypes.ErrTooManyLearners:        ErrUnhealthy,
		rpctypes.ErrPeerURLExist:           ErrExists,
		rpctypes.ErrMemberExist:            ErrExists,
		rpctypes.ErrMemberNotFound:         ErrGone,
	} {
		if errors.Is(err, theirs) {
			return fmt.Errorf("%w: %w", ours, err)
		}
	}
	return err
}
