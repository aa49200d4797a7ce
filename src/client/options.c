/* The defaults of a client.
 * SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <mqtt5/client.h>

void mqtt5_client_options_init(struct mqtt5_client_options *config)
{
    *config = (struct mqtt5_client_options){
        .struct_size = sizeof *config,
        .version = MQTT5_VERSION_5,
        .client_id = "",
        .clean_start = true,
        .keep_alive_s = 60,
        .connect_timeout_ms = 30000,
        .receive_maximum = 1024,
        .maximum_packet_size = 16u << 20,
        .topic_alias_maximum = 16,
        .inflight_max = 1024,
        .queued_messages_max = 10000,
        .queued_bytes_max = (size_t)64 << 20,
        .queue_file_sync = true,
        .ack_lapse_reason = MQTT5_REASON_UNSPECIFIED_ERROR,
        .own_thread = true,
        .reconnect = {.enabled = true,
                      .min_ms = 1000,
                      .max_ms = 60000,
                      .factor_percent = 200,
                      .jitter_percent = 50,
                      .stable_ms = 10000,
                      .redirects_max = 3},
    };
}
