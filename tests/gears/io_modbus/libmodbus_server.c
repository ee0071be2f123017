/* A Modbus TCP server of libmodbus on a free port of loopback: prints the port, then serves one client after
 * another for ever. Register and bit n of each table begin as the sum of n and 1000, 2000 (registers), and
 * as the lowest bit of n (bits). */
#include <modbus.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

int main(void) {
    modbus_t *context = modbus_new_tcp("127.0.0.1", 0);
    modbus_mapping_t *map = modbus_mapping_new(400, 400, 400, 400);
    if (context == NULL || map == NULL) return 1;
    for (int n = 0; n < 400; n++) {
        map->tab_bits[n] = map->tab_input_bits[n] = n & 1;
        map->tab_registers[n] = 1000 + n;
        map->tab_input_registers[n] = 2000 + n;
    }
    int listener = modbus_tcp_listen(context, 1);
    struct sockaddr_in place;
    socklen_t size = sizeof place;
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&place, &size) != 0) return 2;
    printf("%d\n", ntohs(place.sin_port));
    fflush(stdout);
    for (;;) {
        unsigned char query[MODBUS_TCP_MAX_ADU_LENGTH];
        modbus_tcp_accept(context, &listener);
        for (int length; (length = modbus_receive(context, query)) >= 0;)
            if (length > 0) modbus_reply(context, query, length, map);
        modbus_close(context);
    }
}
