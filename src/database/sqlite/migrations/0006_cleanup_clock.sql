CREATE TABLE `cleanup_clock` (
	`id` integer PRIMARY KEY NOT NULL,
	`trusted_at` integer NOT NULL,
	`doubted_since` integer
);
