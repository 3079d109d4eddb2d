/** Public surface of the plugin. What is not exported here is internal. */
export const version = '0.1.0';
