CREATE TABLE `events` (
	`id` integer PRIMARY KEY AUTOINCREMENT NOT NULL,
	`time` integer NOT NULL,
	`kind` text NOT NULL,
	`outcome` text NOT NULL,
	`source` text NOT NULL,
	`user_id` integer,
	`actor_id` integer,
	`detail` text,
	`address` text,
	`user_agent` text,
	`request_id` text
);
--> statement-breakpoint
CREATE INDEX `events_time_index` ON `events` (`time`);--> statement-breakpoint
CREATE INDEX `events_user_id_index` ON `events` (`user_id`,`id`);--> statement-breakpoint
CREATE INDEX `events_kind_index` ON `events` (`kind`,`id`);--> statement-breakpoint
CREATE TABLE `known_networks` (
	`user_id` integer NOT NULL,
	`network` text NOT NULL,
	`last_login_at` integer NOT NULL,
	PRIMARY KEY(`user_id`, `network`),
	FOREIGN KEY (`user_id`) REFERENCES `users`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `known_networks_last_login_at_index` ON `known_networks` (`last_login_at`);--> statement-breakpoint
CREATE TABLE `login_failures` (
	`username_key` text NOT NULL,
	`network` text NOT NULL,
	`failures` integer NOT NULL,
	`waits_until_ms` integer NOT NULL,
	`last_failure_ms` integer NOT NULL,
	PRIMARY KEY(`username_key`, `network`)
);
--> statement-breakpoint
CREATE INDEX `login_failures_last_failure_ms_index` ON `login_failures` (`last_failure_ms`);