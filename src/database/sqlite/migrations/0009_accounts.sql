CREATE TABLE `codes` (
	`hash` text PRIMARY KEY NOT NULL,
	`kind` text NOT NULL,
	`user_id` integer,
	`data` text,
	`created_at` integer NOT NULL,
	`expires_at` integer NOT NULL,
	FOREIGN KEY (`user_id`) REFERENCES `users`(`id`) ON UPDATE no action ON DELETE cascade
);
--> statement-breakpoint
CREATE INDEX `codes_user_id_index` ON `codes` (`user_id`,`kind`);--> statement-breakpoint
CREATE INDEX `codes_kind_index` ON `codes` (`kind`,`created_at`);--> statement-breakpoint
CREATE INDEX `codes_expires_at_index` ON `codes` (`expires_at`);--> statement-breakpoint
ALTER TABLE `users` ADD `disabled_at` integer;--> statement-breakpoint
ALTER TABLE `users` ADD `email_verified_at` integer;--> statement-breakpoint
CREATE INDEX `users_disabled_index` ON `users` (`username_key`) WHERE disabled_at is not null;