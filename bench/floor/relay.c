// The floor: a relay that does nothing but forward. It costs four system calls, two wake-ups and their share of an
// epoll_wait a transaction. Any further cost of a pooler is its own work.
//
// It is no pooler. It lends a free server to a client that sends something, takes it back when a read ends with ReadyForQuery `I`, and
// queues clients in between. It knows no split messages, no full sockets, no errors and no user but "postgres" with trust: pgbench's
// simple protocol works, and little else.
//
// relay PORT SERVER_PORT SERVERS
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum kind { LISTENER, CLIENT, SERVER };

struct end {
	int fd;
	enum kind kind;
	int started;       // a client's startup packet has been answered
	struct end *other; // the end that this one is linked to
	struct end *next;  // among the free servers or the waiting clients
	int waiting_bytes;
	char waiting[1024]; // bytes that a waiting client has sent
};

static struct end *free_servers, *first_waiter, *last_waiter;
static char buffer[65536];
static int epoll;

static void die(const char *what) {
	perror(what);
	exit(1);
}

static struct end *watch(int fd, enum kind kind) {
	struct end *e = calloc(1, sizeof *e);
	e->fd = fd;
	e->kind = kind;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = e};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
		die("epoll_ctl");
	return e;
}

static void without_delay(int fd) {
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static struct sockaddr_in loopback(int port) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static void put(int fd, const char *bytes, int n) { send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL); }

static int ends_idle(int n) { return n >= 6 && buffer[n - 6] == 'Z' && buffer[n - 1] == 'I'; }

static void dial(int port) {
	static const char startup[] = "\0\0\0\51\0\3\0\0user\0postgres\0database\0postgres\0"; // 41 bytes, the final zero included
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = loopback(port);
	if (connect(fd, (void *)&address, sizeof address))
		die("connect");
	without_delay(fd);
	put(fd, startup, sizeof startup);
	int n;
	do {
		if ((n = read(fd, buffer, sizeof buffer)) <= 0)
			die("login");
	} while (!ends_idle(n));
	struct end *server = watch(fd, SERVER);
	server->next = free_servers;
	free_servers = server;
}

static void lend(struct end *server, struct end *client, const char *bytes, int n) {
	server->other = client;
	client->other = server;
	put(server->fd, bytes, n);
}

static void welcome(struct end *client, int n) {
	static const char ssl_request = 4; // its fifth byte is that of 80877103, a startup packet's that of 3.0
	static const char words[] = "R\0\0\0\10\0\0\0\0S\0\0\0\30server_version\00015.0\0Z\0\0\0\5I";
	if (n >= 8 && buffer[4] == ssl_request) {
		put(client->fd, "N", 1);
		return;
	}
	client->started = 1;
	put(client->fd, words, sizeof words - 1);
}

static void gone(struct end *e) {
	if (e->kind == SERVER)
		die("a server is gone");
	if (e->other)
		e->other->other = NULL;
	close(e->fd);
}

static void from_client(struct end *client, int n) {
	if (!client->started) {
		welcome(client, n);
	} else if (buffer[0] == 'X') {
		gone(client);
	} else if (client->other) {
		put(client->other->fd, buffer, n);
	} else if (free_servers) {
		struct end *server = free_servers;
		free_servers = server->next;
		lend(server, client, buffer, n);
	} else {
		if (n > (int)sizeof client->waiting)
			die("a query is too long");
		memcpy(client->waiting, buffer, n);
		client->waiting_bytes = n;
		client->next = NULL;
		if (last_waiter)
			last_waiter->next = client;
		else
			first_waiter = client;
		last_waiter = client;
	}
}

static void from_server(struct end *server, int n) {
	struct end *client = server->other;
	if (client)
		put(client->fd, buffer, n);
	if (!ends_idle(n))
		return;
	if (client)
		client->other = NULL;
	server->other = NULL;
	if (!first_waiter) {
		server->next = free_servers;
		free_servers = server;
		return;
	}
	client = first_waiter;
	if (!(first_waiter = client->next))
		last_waiter = NULL;
	lend(server, client, client->waiting, client->waiting_bytes);
}

static void ready(struct end *e) {
	if (e->kind == LISTENER) {
		int fd = accept(e->fd, NULL, NULL);
		if (fd >= 0) {
			without_delay(fd);
			watch(fd, CLIENT);
		}
		return;
	}
	int n = recv(e->fd, buffer, sizeof buffer, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		gone(e);
	else if (e->kind == CLIENT)
		from_client(e, n);
	else
		from_server(e, n);
}

int main(int argc, char **argv) {
	if (argc != 4)
		die("relay PORT SERVER_PORT SERVERS");
	epoll = epoll_create1(0);
	for (int i = 0; i < atoi(argv[3]); i++)
		dial(atoi(argv[2]));
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	struct sockaddr_in address = loopback(atoi(argv[1]));
	if (bind(fd, (void *)&address, sizeof address) || listen(fd, 4096))
		die("listen");
	watch(fd, LISTENER);
	struct epoll_event events[256];
	for (;;) {
		int n = epoll_wait(epoll, events, 256, -1);
		for (int i = 0; i < n; i++)
			ready(events[i].data.ptr);
	}
}
