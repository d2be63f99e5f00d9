package login

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/hybridbouncer/hybridbouncer/config"
)

// A load balancer that speaks the PROXY protocol (haproxy's proxy-protocol.txt; version 1 in text, 2 in binary) sends a header ahead of all
// else, with the address of its client. A balancer in proxy_protocol_from must send the header, and is believed. The header of anybody else
// is a protocol error.

// fromBalancer is a socket whose client is behind a load balancer.
type fromBalancer struct {
	net.Conn
	client *net.TCPAddr
}

// RemoteAddr is the client's address.
func (f *fromBalancer) RemoteAddr() net.Addr { return f.client }

// NetConn is the socket itself.
func (f *fromBalancer) NetConn() net.Conn { return f.Conn }

// SyscallConn is that of the socket.
func (f *fromBalancer) SyscallConn() (syscall.RawConn, error) {
	socket, ok := f.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("not a socket")
	}
	return socket.SyscallConn()
}

// unproxied reads the PROXY header, if the listener expects one from this address.
func unproxied(nc net.Conn, cfg *config.Listener) (net.Conn, error) {
	if cfg == nil || !cfg.ProxyProtocol || !listed(addressOf(nc).Addr(), cfg.ProxyProtocolFrom) {
		return nc, nil
	}
	client, err := readProxyHeader(nc)
	if err != nil {
		return nc, err
	}
	if !client.IsValid() {
		return nc, nil // the connection is the balancer's own
	}
	return &fromBalancer{Conn: nc, client: net.TCPAddrFromAddrPort(client)}, nil
}

// listed reports whether an address is in one of the networks.
func listed(a netip.Addr, networks []string) bool {
	for _, text := range networks {
		if n, err := config.ParseNetwork(text); err == nil && n.Contains(a) {
			return true
		}
	}
	return false
}

var (
	errProxyHeader = errors.New("no valid PROXY header from an address in proxy_protocol_from")
	proxySignature = []byte("\r\n\r\n\x00\r\nQUIT\n")
)

// proxyLineMax is the longest header of version 1, proxyBodyMax bounds that of version 2: addresses and a few extensions.
const (
	proxyLineMax = 107
	proxyBodyMax = 4096
)

// readProxyHeader reads the header and nothing behind it. The address is not valid if the header holds none: that of a health check, or of
// an unknown address family.
func readProxyHeader(r io.Reader) (netip.AddrPort, error) {
	head := make([]byte, len(proxySignature), proxyLineMax)
	if _, err := io.ReadFull(r, head); err != nil {
		return netip.AddrPort{}, err
	}
	if bytes.Equal(head, proxySignature) {
		return readProxyV2(r)
	}
	if !bytes.HasPrefix(head, []byte("PROXY ")) {
		return netip.AddrPort{}, errProxyHeader
	}
	for !bytes.HasSuffix(head, []byte("\r\n")) {
		if len(head) == proxyLineMax {
			return netip.AddrPort{}, errProxyHeader
		}
		head = head[:len(head)+1]
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return netip.AddrPort{}, err
		}
	}
	return parseProxyV1(string(head[:len(head)-2]))
}

// parseProxyV1 reads PROXY TCP4 source destination sport dport.
func parseProxyV1(line string) (netip.AddrPort, error) {
	f := strings.Split(line, " ")
	if len(f) >= 2 && f[1] == "UNKNOWN" {
		return netip.AddrPort{}, nil
	}
	if len(f) != 6 || f[1] != "TCP4" && f[1] != "TCP6" {
		return netip.AddrPort{}, errProxyHeader
	}
	var addrs [2]netip.Addr
	var ports [2]uint64
	for i := range addrs {
		var err, err2 error
		addrs[i], err = netip.ParseAddr(f[2+i])
		ports[i], err2 = strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || err2 != nil || addrs[i].Is4() != (f[1] == "TCP4") || addrs[i].Zone() != "" {
			return netip.AddrPort{}, errProxyHeader
		}
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(ports[0])), nil
}

// readProxyV2 reads the rest of a header of version 2, behind the signature.
func readProxyV2(r io.Reader) (netip.AddrPort, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return netip.AddrPort{}, err
	}
	command, family, n := head[0], head[1], int(binary.BigEndian.Uint16(head[2:]))
	if command>>4 != 2 || command&0xf > 1 || n > proxyBodyMax {
		return netip.AddrPort{}, errProxyHeader
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return netip.AddrPort{}, err
	}
	const local, overTCP4, overTCP6 = 0, 0x11, 0x21
	switch {
	case command&0xf == local:
	case family == overTCP4 && n >= 12:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:])), nil
	case family == overTCP6 && n >= 36:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])).Unmap(), binary.BigEndian.Uint16(body[32:])), nil
	case family == overTCP4, family == overTCP6:
		return netip.AddrPort{}, errProxyHeader
	}
	return netip.AddrPort{}, nil
}
