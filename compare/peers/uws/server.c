// uWebSockets through the C interface of its build in the Python package socketify, whose event loop is libuv. No
// interpreter runs. The declarations say what socketify's native.py says; only what is used is here.
//
//     server PORT [CERTIFICATE KEY]     /echo sends back, /topics/… publishes to all who are there; TLS with files

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RUN_UNTIL_ENDED = 0 };

typedef struct uws_app_s uws_app_t;
typedef struct uws_req_s uws_req_t;
typedef struct uws_res_s uws_res_t;
typedef struct uws_websocket_s uws_websocket_t;
typedef struct uws_socket_context_s uws_socket_context_t;

typedef struct {
    const char *key_file_name, *cert_file_name, *passphrase, *dh_params_file_name, *ca_file_name, *ssl_ciphers;
    int ssl_prefer_low_memory_usage;
} tls_options_t;

typedef struct {
    int port;
    const char *host;
    int options;
} uws_app_listen_config_t;

typedef struct {
    int compression;
    unsigned int max_payload_bytes;
    unsigned short idle_timeout_s;
    unsigned int max_backpressure_bytes;
    bool close_on_backpressure_limit, reset_idle_timeout_on_send, send_pings_automatically;
    unsigned short max_lifetime_minutes;
    void (*upgrade)(uws_res_t *, uws_req_t *, uws_socket_context_t *, void *);
    void (*open)(uws_websocket_t *, void *);
    void (*message)(uws_websocket_t *, const char *, size_t, int opcode, void *);
    void (*drain)(uws_websocket_t *, void *);
    void (*ping)(uws_websocket_t *, const char *, size_t, void *);
    void (*pong)(uws_websocket_t *, const char *, size_t, void *);
    void (*close)(uws_websocket_t *, int code, const char *, size_t, void *);
    void (*subscription)(uws_websocket_t *, const char *, size_t, int, int, void *);
} uws_socket_behavior_t;

void *socketify_create_loop(void);
void *socketify_get_native_loop(void *loop);
int socketify_loop_run(void *loop, int mode);
void *uws_get_loop_with_native(void *native_loop);
uws_app_t *uws_create_app(int tls, tls_options_t options);
void uws_app_listen_with_config(int tls, uws_app_t *, uws_app_listen_config_t,
                                void (*listening)(void *socket, uws_app_listen_config_t, void *), void *);
void uws_ws(int tls, uws_app_t *, const char *pattern, uws_socket_behavior_t, void *);
int uws_ws_send(int tls, uws_websocket_t *, const char *, size_t, int opcode);
bool uws_ws_subscribe(int tls, uws_websocket_t *, const char *topic, size_t);
bool uws_publish(int tls, uws_app_t *, const char *topic, size_t, const char *, size_t, int opcode, bool compress);

static const char TOPIC[] = "all";
static uws_app_t *app;
static int tls;

static void echo(uws_websocket_t *socket, const char *message, size_t bytes, int opcode, void *unused) {
    (void)unused;
    uws_ws_send(tls, socket, message, bytes, opcode);
}

static void subscribe(uws_websocket_t *socket, void *unused) {
    (void)unused;
    uws_ws_subscribe(tls, socket, TOPIC, strlen(TOPIC));
}

static void publish(uws_websocket_t *socket, const char *message, size_t bytes, int opcode, void *unused) {
    (void)socket, (void)unused;
    uws_publish(tls, app, TOPIC, strlen(TOPIC), message, bytes, opcode, false);
}

static void listening(void *socket, uws_app_listen_config_t config, void *unused) {
    (void)unused;
    if (!socket) {
        fprintf(stderr, "Port %d cannot be listened on.\n", config.port);
        exit(1);
    }
}

int main(int count, char **arguments) {
    if (count != 2 && count != 4) {
        fprintf(stderr, "Give a port to listen on, and for TLS the files of a certificate and its key.\n");
        return 2;
    }
    tls = count == 4;
    const tls_options_t secrets = tls ? (tls_options_t){.cert_file_name = arguments[2], .key_file_name = arguments[3]}
                                      : (tls_options_t){0};
    void *loop = socketify_create_loop();
    uws_get_loop_with_native(socketify_get_native_loop(loop));
    app = uws_create_app(tls, secrets);
    const uws_socket_behavior_t common = {
        .max_payload_bytes = 64 << 10,
        .idle_timeout_s = 120,
        .max_backpressure_bytes = 1 << 20,
        .send_pings_automatically = true,
    };
    uws_socket_behavior_t echoing = common, publishing = common;
    echoing.message = echo;
    publishing.open = subscribe;
    publishing.message = publish;
    uws_ws(tls, app, "/echo", echoing, NULL);
    uws_ws(tls, app, "/topics/:name", publishing, NULL);
    const uws_app_listen_config_t config = {.port = atoi(arguments[1]), .host = "127.0.0.1"};
    uws_app_listen_with_config(tls, app, config, listening, NULL);
    return socketify_loop_run(loop, RUN_UNTIL_ENDED);
}
